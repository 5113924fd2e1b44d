"""Postfix on free ports, with STARTTLS and a password: what it takes on lies in a folder.

It wants to be started by root. `make setup` unpacks Debian's packages under ``.local/postfix`` without installing them,
since a machine has one mail server; its folders are a test's own, so that neither sees the other.
"""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from pathlib import Path
from string import Template
from typing import Final, Self

from sinsok.stack.part import CHECKOUT
from tests.integration.certificates import Authority
from tests.stack import free_port, wait_until

ADDRESS, USER, PASSWORD = "night@hospital.test", "sinsok", "let me in"
_NAME: Final = "mail.test"
_PROGRAMS: Final = CHECKOUT / ".local" / "postfix" / "usr"
_LIBRARIES: Final = _PROGRAMS / "lib" / "postfix"
_OWNER: Final = "daemon"
_MAIN: Final = Template("""
compatibility_level = 3.6
import_environment = MAIL_CONFIG MAIL_LOGTAG TZ LANG=C LD_LIBRARY_PATH
maillog_file = /dev/stdout
maillog_file_prefixes = /dev
myhostname = $name
mydestination =
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
queue_directory = $folder/queue
data_directory = $folder/data
daemon_directory = $libraries/sbin
command_directory = $programs/sbin
shlib_directory = $libraries
mail_owner = $owner
setgid_group = mail
alias_maps =
alias_database =
local_recipient_maps =
virtual_mailbox_domains = hospital.test
virtual_mailbox_maps = inline:{ { $address = box/ } }
virtual_mailbox_base = $folder
virtual_uid_maps = static:65534
virtual_gid_maps = static:65534
virtual_minimum_uid = 1
smtpd_tls_cert_file = $certificate
smtpd_tls_key_file = $key
smtpd_relay_restrictions = permit_mynetworks, reject
""")
_MASTER: Final = Template("""
127.0.0.1:$port inet n - n - - smtpd -o smtpd_tls_security_level=encrypt
127.0.0.1:$plain_port inet n - n - - smtpd -o smtpd_tls_security_level=none
127.0.0.1:$login_port inet n - n - - smtpd -o smtpd_tls_security_level=encrypt -o smtpd_sasl_auth_enable=yes
    -o smtpd_recipient_restrictions=permit_sasl_authenticated,reject
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
error unix - - n - - error
retry unix - - n - - error
virtual unix - n n - - virtual
anvil unix - - n - 1 anvil
tlsmgr unix - - n 1000? 1 tlsmgr
postlog unix-dgram n - n - 1 postlogd
proxymap unix - - n - - proxymap
""")
_SASL: Final = "pwcheck_method: auxprop\nauxprop_plugin: sasldb\nmech_list: PLAIN\nsasldb_path: {passwords}\n"


class MailServer:
    """``port`` insists on STARTTLS, ``plain_port`` has none, and ``login_port`` wants the password as well.

    Its certificate has expired where ``days`` is negative.
    """

    def __init__(self, authority: Authority, *, days: int = 1) -> None:
        self.ca = authority.certificate
        self.port, self.plain_port, self.login_port = free_port(), free_port(), free_port()
        # Not in a test's own folder, which only its owner may enter: mail is written by another user.
        self._folder = Path(tempfile.mkdtemp(prefix="sinsok-mail-"))
        self._folder.chmod(0o755)
        self._environment = {**os.environ, "LD_LIBRARY_PATH": str(_LIBRARIES)}
        self._box = self._folder / "box"
        self._box.mkdir()
        shutil.chown(self._box, "nobody")
        made = authority.signs(_NAME, days=days)
        self._configure(made.certificate, made.key)
        self._make_queue()

    def _configure(self, certificate: Path, key: Path) -> None:
        configuration = self._folder / "configuration"
        (configuration / "sasl").mkdir(parents=True)
        filled = {
            "name": _NAME,
            "folder": self._folder,
            "programs": _PROGRAMS,
            "libraries": _LIBRARIES,
            "owner": _OWNER,
            "address": ADDRESS,
            "certificate": certificate,
            "key": key,
        }
        ports = {"port": self.port, "plain_port": self.plain_port, "login_port": self.login_port}
        (configuration / "main.cf").write_text(_MAIN.substitute(filled))
        (configuration / "master.cf").write_text(_MASTER.substitute(ports))
        passwords = self._folder / "passwords"
        (configuration / "sasl" / "smtpd.conf").write_text(_SASL.format(passwords=passwords))
        save = [_PROGRAMS / "sbin" / "saslpasswd2", "-p", "-c", "-f", passwords, "-u", _NAME, USER]
        subprocess.run([*map(str, save)], input=PASSWORD.encode(), check=True)
        shutil.chown(passwords, _OWNER)

    def _make_queue(self) -> None:
        """What the package's installation would have made."""
        (self._folder / "data").mkdir()
        shutil.chown(self._folder / "data", _OWNER)
        queue = self._folder / "queue"
        for name in (
            "active",
            "bounce",
            "corrupt",
            "defer",
            "deferred",
            "flush",
            "hold",
            "incoming",
            "private",
            "trace",
        ):
            (queue / name).mkdir(parents=True, mode=0o700)
            shutil.chown(queue / name, _OWNER)
        for name, mode in (("maildrop", 0o730), ("public", 0o710)):
            (queue / name).mkdir()
            (queue / name).chmod(mode)
            shutil.chown(queue / name, _OWNER, "mail")
        (queue / "pid").mkdir()

    def start(self) -> Self:
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [str(_LIBRARIES / "sbin" / "master"), "-d", "-c", str(self._folder / "configuration")],
                env=self._environment,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        wait_until(self._greets)
        return self

    def _greets(self) -> None:
        try:
            with socket.create_connection(("127.0.0.1", self.port), 1) as connection:
                assert connection.recv(3) == b"220"
        except OSError as error:
            raise AssertionError(f"{error}: {(self._folder / 'log').read_text()[-2000:]}") from None

    def stop(self) -> None:
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def mails(self) -> list[EmailMessage]:
        """What lies in the box."""
        files = sorted((self._box / "new").glob("*"))
        return [message_from_bytes(file.read_bytes(), policy=default) for file in files]

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()
        shutil.rmtree(self._folder)
