"""TLS on every connection: bus, admin API and traffic, with certificates for clients, renewed while running."""
import http.client
import ssl
import subprocess
import unittest

from cluster import SAMPLE, TOP, Cluster
from process import Process, wait_until


def openssl(folder, *args):
    subprocess.run(["openssl", *map(str, args)], cwd=folder, check=True, capture_output=True)


class TlsCluster(Cluster):
    """The bus asks both planes for certificates; the admin API asks the CLI."""

    def __init__(self):
        super().__init__(sample=False)
        openssl(self.folder, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "ca.key", "-out", "ca.pem",
                "-days", "2", "-subj", "/CN=test CA", "-addext", "keyUsage=critical,keyCertSign,cRLSign")
        for name in ("bus", "plane", "admin", "operator", "traffic"):
            self.certificate(name)

    def certificate(self, name):
        openssl(self.folder, "req", "-newkey", "rsa:2048", "-nodes", "-keyout", f"{name}.key.new", "-out", "request.pem",
                "-subj", f"/CN={name}", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1")
        openssl(self.folder, "x509", "-req", "-in", "request.pem", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial",
                "-copy_extensions", "copy", "-days", "2", "-out", f"{name}.pem.new")
        for kind in ("key", "pem"):
            (self.folder / f"{name}.{kind}.new").rename(self.folder / f"{name}.{kind}")

    def start_nats(self, wipe=False):
        block = f'tls {{ ca_file: "{self.folder}/ca.pem", cert_file: "{self.folder}/bus.pem", key_file: "{self.folder}/bus.key", verify: true }}\n'
        conf = self.folder / "nats.conf"
        conf.write_text((TOP / "deploy/nats.conf").read_text() + block)
        env = {"SPILLWAY_NATS_CONTROLPLANE_PASSWORD": self.passwords["controlplane"].read_text(),
               "SPILLWAY_NATS_DATAPLANE_PASSWORD": self.passwords["dataplane"].read_text(),
               "SPILLWAY_NATS_STORE_DIR": str(self.folder / "nats")}
        self.nats = Process("nats", [self.nats_server, "-c", conf, "-a", "127.0.0.1", "-p", self.nats_port],
                            self.folder, env).start()
        wait_until(lambda: self.accepts(self.nats_port), "nats-server on its port")

    def bus_flags(self, ca=None):
        return ("--nats-tls-ca", ca or self.folder / "ca.pem", "--nats-tls-cert", self.folder / "plane.pem",
                "--nats-tls-key", self.folder / "plane.key")

    def start_control(self, *flags):
        super().start_control(*self.bus_flags(), "--tls-cert", self.folder / "admin.pem", "--tls-key",
                              self.folder / "admin.key", "--tls-client-ca", self.folder / "ca.pem", *flags)

    def start_data(self, name, *flags, bus_ca=None):
        super().start_data(name, *self.bus_flags(bus_ca), "--tls-cert", self.folder / "traffic.pem", "--tls-key",
                           self.folder / "traffic.key", *flags)

    def cli(self, *args, tls=True, **options):
        flags = ("--ca-file", self.folder / "ca.pem", "--cert", self.folder / "operator.pem", "--key",
                 self.folder / "operator.key") if tls else ()
        return super().cli(*args, *flags, **options)

    def https(self, key):
        """Status of a chat completion, and the serial number of the certificate that was shown."""
        context = ssl.create_default_context(cafile=self.folder / "ca.pem")
        connection = http.client.HTTPSConnection("localhost", self.ports["dp0"], context=context, timeout=20)
        try:
            connection.connect()
            serial = connection.sock.getpeercert()["serialNumber"]
            connection.request("POST", "/v1/chat/completions",
                               '{"model":"mock-small","messages":[{"role":"user","content":"x"}]}',
                               {"Authorization": f"Bearer {key}", "Content-Type": "application/json"})
            response = connection.getresponse()
            response.read()
            return response.status, serial
        finally:
            connection.close()


class Tls(unittest.TestCase):
    def test_every_connection_may_be_tls_and_certificates_are_renewed(self):
        with TlsCluster() as cluster:
            cluster.apply(SAMPLE.format(mock=cluster.mock_url))
            cluster.wait_ready()
            key = cluster.create_key("app")
            status, first = cluster.https(key)
            self.assertEqual(status, 200)
            self.assertEqual(len(cluster.wait_ledger(1)), 1)
            refused = cluster.cli("fleet", "list", tls=False, check=False)
            self.assertNotEqual(refused.returncode, 0)
            cluster.certificate("traffic")
            wait_until(lambda: cluster.https(key)[1] != first, "the renewed certificate")
            self.assertEqual(cluster.https(key)[0], 200)

    def test_a_bus_whose_certificate_nobody_signed_is_not_trusted(self):
        with TlsCluster() as cluster:
            other = cluster.folder / "other"
            other.mkdir()
            openssl(other, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "ca.key", "-out", "ca.pem",
                    "-days", "2", "-subj", "/CN=another CA")
            cluster.start_data("dp1", bus_ca=other / "ca.pem")
            cluster.apply(SAMPLE.format(mock=cluster.mock_url))
            wait_until(cluster.ready, "readiness of the one that trusts the bus")
            self.assertFalse(cluster.ready("dp1"))


if __name__ == "__main__":
    unittest.main()
