// Usage: node example.mjs person.jpg garment.jpg picture.png [http://127.0.0.1:8000]
import { openAsBlob } from "node:fs";
import { writeFile } from "node:fs/promises";

const [person, garment, output, url = "http://127.0.0.1:8000"] = process.argv.slice(2);
const form = new FormData();
form.append("person", await openAsBlob(person), "person");
form.append("garment", await openAsBlob(garment), "garment");
const headers = { "Prefer": "wait=60", "Idempotency-Key": crypto.randomUUID() };
if (process.env.TRYON_KEY) headers.Authorization = `Bearer ${process.env.TRYON_KEY}`;
const job = await (await fetch(`${url}/v1/tryons`, { method: "POST", body: form, headers })).json();
if (job.status !== "succeeded") throw new Error(JSON.stringify(job.error ?? job));
const { Authorization } = headers;
const result = await fetch(`${url}/v1/tryons/${job.id}/result`, { headers: Authorization ? { Authorization } : {} });
await writeFile(output, Buffer.from(await result.arrayBuffer()));
