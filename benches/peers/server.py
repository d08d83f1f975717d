"""A private MariaDB server for the side-by-side runs: own data directory, free port, binary log on."""
import os
import shutil
import socket
import subprocess
import tempfile
import time

USER, PASSWORD = "lakebed", "peers"


class Server:
    def __init__(self):
        self.directory = tempfile.mkdtemp(prefix="lakebed-peers-")
        self.data = os.path.join(self.directory, "data")
        self.socket = os.path.join(self.directory, "s.sock")
        self.port = _free_port()
        subprocess.run(["mariadb-install-db", "--no-defaults", f"--datadir={self.data}", "--user=root", "--skip-test-db",
                        "--auth-root-authentication-method=normal", f"--tmpdir={self.directory}"], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        with open(os.path.join(self.directory, "log"), "wb") as log:
            self.process = subprocess.Popen(
                ["/usr/sbin/mariadbd", "--no-defaults", "--user=root", f"--datadir={self.data}", f"--socket={self.socket}",
                 f"--port={self.port}", "--bind-address=127.0.0.1", "--skip-name-resolve", "--server-id=1",
                 f"--tmpdir={self.directory}", f"--log-bin={self.data}/binlog", "--binlog-format=ROW", "--binlog-row-image=FULL", "--sync-binlog=0",
                 "--innodb-flush-log-at-trx-commit=0", "--innodb-buffer-pool-size=1G", "--innodb-log-file-size=512M",
                 "--max-allowed-packet=1G", "--character-set-server=utf8mb4"], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self._wait()
        self.sql(f"CREATE USER '{USER}'@'%' IDENTIFIED BY '{PASSWORD}';"
                 f"GRANT SELECT, REPLICATION SLAVE, REPLICATION CLIENT ON *.* TO '{USER}'@'%';"
                 "CREATE DATABASE shop DEFAULT CHARSET utf8mb4;")

    def sql(self, statements):
        """Runs statements as root; what they print, without headings."""
        client = ["mariadb", "--no-defaults", f"--socket={self.socket}", "-uroot", "-N", "-B"]
        return subprocess.run(client, input=statements, check=True, text=True, stdout=subprocess.PIPE).stdout.strip()

    def log_files(self):
        """The binary log's files, oldest first."""
        return [os.path.join(self.data, line.split("\t")[0]) for line in self.sql("SHOW BINARY LOGS").splitlines()]

    def stop(self):
        self.process.terminate()
        self.process.wait()
        shutil.rmtree(self.directory, ignore_errors=True)

    def _wait(self):
        for _ in range(600):
            if self.process.poll() is not None:
                break
            try:
                with socket.create_connection(("127.0.0.1", self.port), timeout=1):
                    return
            except OSError:
                time.sleep(0.1)
        raise SystemExit(f"the server does not start, see {self.directory}/log")


def _free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]
