# SPDX-License-Identifier: ISC
"""pyftpdlib as a daemon: HOST PORT ROOT USER PASSWORD COMMANDS_LOG [PEM]; with a PEM file it demands TLS."""

import logging
import sys

from pyftpdlib.authorizers import DummyAuthorizer
from pyftpdlib.handlers import FTPHandler
from pyftpdlib.servers import FTPServer


def main():
    host, port, root, user, password, log, *pem = sys.argv[1:]
    base = FTPHandler
    if pem:
        from pyftpdlib.handlers import TLS_FTPHandler as base
    logging.basicConfig(level=logging.WARNING)
    commands = open(log, "a", encoding="utf-8", errors="surrogateescape", buffering=1)

    class Handler(base):
        timeout = 900
        banner = "pyftpdlib for tests"
        unicode_errors = "surrogateescape"

        def pre_process_command(self, line, cmd, arg):
            commands.write((cmd + " (hidden)" if cmd == "PASS" else line) + "\n")
            super().pre_process_command(line, cmd, arg)

    authorizer = DummyAuthorizer()
    authorizer.add_user(user, password, root, perm="elradfmwMT")
    authorizer.add_anonymous(root, perm="elradfmwMT")
    Handler.authorizer = authorizer
    if pem:
        Handler.certfile = pem[0]
        Handler.tls_control_required = Handler.tls_data_required = True
    Handler.log_prefix = ""
    server = FTPServer((host, int(port)), Handler, backlog=512)
    server.max_cons = 10000
    server.max_cons_per_ip = 0
    server.serve_forever(handle_exit=True)


if __name__ == "__main__":
    main()
