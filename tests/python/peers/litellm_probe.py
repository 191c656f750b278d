"""Lives in each worker of the proxy, loaded by its configuration as a callback: reports to the test what
fast_litellm did there, over a Unix socket named after the worker's process id. It imports nothing of fast_litellm by
itself."""

import json
import os
import socketserver
import sys
import threading

from litellm.integrations.custom_logger import CustomLogger


class Answer(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        package = sys.modules.get("fast_litellm")
        report = None
        if package is not None:
            report = {
                "stats": package.get_performance_stats(),
                "patch": package.get_patch_status(),
                "fleet": package.get_fleet_status(),
            }
        self.wfile.write(json.dumps(report, default=str).encode())


server = socketserver.ThreadingUnixStreamServer(os.path.join(os.environ["PROBE_FOLDER"], str(os.getpid())), Answer)
server.daemon_threads = True
threading.Thread(target=server.serve_forever, daemon=True).start()
handler = CustomLogger()
