# A mail server for tests: aiosmtpd, with STARTTLS, a password, and a Maildir to deliver to.
import signal
import ssl
import sys

from aiosmtpd.controller import Controller
from aiosmtpd.handlers import Mailbox
from aiosmtpd.smtp import AuthResult, LoginPassword

port, maildir, certificate, key, user, password = sys.argv[1:7]


def login(server, session, envelope, mechanism, data):
    known = isinstance(data, LoginPassword) and (data.login, data.password) == (user.encode(), password.encode())
    return AuthResult(success=known, handled=False)


tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
tls.load_cert_chain(certificate, key)
server = Controller(
    Mailbox(maildir), hostname="127.0.0.1", port=int(port), tls_context=tls, require_starttls=True,
    authenticator=login, auth_required=True, enable_SMTPUTF8=True,
)
server.start()
print("ready", flush=True)
signal.sigwait({signal.SIGTERM, signal.SIGINT})
server.stop()
