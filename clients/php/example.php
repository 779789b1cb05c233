<?php
// Usage: php example.php person.jpg garment.jpg picture.png [http://127.0.0.1:8000]
[, $person, $garment, $output] = $argv;
$url = $argv[4] ?? 'http://127.0.0.1:8000';
$key = getenv('TRYON_KEY') ? ['Authorization: Bearer ' . getenv('TRYON_KEY')] : [];

$request = curl_init("$url/v1/tryons");
curl_setopt_array($request, [
    CURLOPT_RETURNTRANSFER => true,
    CURLOPT_HTTPHEADER => [...$key, 'Prefer: wait=60', 'Idempotency-Key: ' . bin2hex(random_bytes(16))],
    CURLOPT_POSTFIELDS => ['person' => new CURLFile($person), 'garment' => new CURLFile($garment)],
]);
$job = json_decode(curl_exec($request), true);
if ($job['status'] !== 'succeeded') {
    exit(json_encode($job['error'] ?? $job) . PHP_EOL);
}
$result = curl_init("$url/v1/tryons/{$job['id']}/result");
curl_setopt_array($result, [
    CURLOPT_RETURNTRANSFER => true, CURLOPT_FOLLOWLOCATION => true, CURLOPT_HTTPHEADER => $key,
]);
file_put_contents($output, curl_exec($result));
