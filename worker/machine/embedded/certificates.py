"""Makes a private certificate authority and certificates for the parts of one server."""

import datetime
import ipaddress
from pathlib import Path

from worker.machine.embedded.process import ServerError
from worker.machine.embedded.state import write_private

VALID_DAYS = 3650
"""Validity. A new authority is made at each start, so it is only longer than the longest run."""


def write_authority(folder: Path, names: tuple[str, ...]) -> None:
    """Write `ca.crt`, and for each name `NAME.crt` and `NAME.key`, signed by it.

    The authority's own key is not kept: nobody can sign a further certificate. The certificates serve for
    both sides of a connection and for 127.0.0.1.

    Raises ServerError when the package `cryptography` is not installed.
    """
    try:
        from cryptography import x509
        from cryptography.hazmat.primitives import hashes, serialization
        from cryptography.hazmat.primitives.asymmetric import ec
        from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
    except ImportError as error:
        raise ServerError(
            "The package cryptography is not installed. Install the extra `embedded`, or set "
            "TRYON_S3_ENDPOINT_URL."
        ) from error

    def subject(name: str) -> x509.Name:
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])

    def builder(name: str, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
        now = datetime.datetime.now(datetime.UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject(name))
            .issuer_name(subject("tryon embedded"))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))  # a clock may be set back
            .not_valid_after(now + datetime.timedelta(days=VALID_DAYS))
        )

    def write_pem(name: str, certificate: x509.Certificate) -> None:
        write_private(folder / f"{name}.crt", certificate.public_bytes(serialization.Encoding.PEM).decode())

    authority = ec.generate_private_key(ec.SECP256R1())
    root = builder("tryon embedded", authority).add_extension(
        x509.BasicConstraints(ca=True, path_length=0), True
    )
    write_pem("ca", root.sign(authority, hashes.SHA256()))
    loopback = x509.SubjectAlternativeName(
        [x509.IPAddress(ipaddress.ip_address("127.0.0.1")), x509.DNSName("localhost")]
    )
    both_sides = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH])
    for name in names:
        key = ec.generate_private_key(ec.SECP256R1())
        signed = builder(name, key).add_extension(loopback, False).add_extension(both_sides, False)
        write_pem(name, signed.sign(authority, hashes.SHA256()))
        private = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        write_private(folder / f"{name}.key", private.decode())
