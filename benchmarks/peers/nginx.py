"""nginx as a forwarding proxy: one worker, its usual access log, a Bearer from its configuration."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from benchmarks.children import Launch
from benchmarks.peers.debian import program, version
from benchmarks.upstream import worker_user

if TYPE_CHECKING:
    from benchmarks.peers.site import Site

_CONFIGURATION: Final = """
daemon off;
worker_processes 1;
{user}
pid {directory}/nginx.pid;
error_log {directory}/nginx.log;
worker_rlimit_nofile 20000;
events {{ worker_connections 8192; }}
http {{
    log_format json escape=json '{{"time": "$time_iso8601", "method": "$request_method", "path": "$uri", '
        '"status": $status, "bytes": $body_bytes_sent, "seconds": $request_time, '
        '"upstream_seconds": "$upstream_response_time", "id": "$request_id"}}';
    access_log {directory}/access.log json;
    client_body_temp_path {directory}/client-body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    client_max_body_size 64m;
    tcp_nodelay on;
    upstream mangopay {{
        server 127.0.0.1:{upstream_port};
        keepalive 100;
    }}
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        location / {{
            proxy_pass https://mangopay;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_set_header Authorization "Bearer {token}";
            proxy_ssl_protocols TLSv1.3;
            proxy_ssl_verify on;
            proxy_ssl_name localhost;
            proxy_ssl_server_name on;
            proxy_ssl_trusted_certificate {ca_file};
        }}
    }}
}}
"""


class Nginx:
    """nginx of Debian."""

    name = "nginx"
    described = "one worker, access log as JSON to a file, 100 idle upstream connections"

    def __init__(self) -> None:
        self.program = Path("nginx")

    def install(self, _cache: Path) -> str:
        """Find it, or install it."""
        self.program = program("nginx", "nginx-light")
        return version([self.program, "-v"], r"nginx/(\S+)")

    def launch(self, site: Site) -> Launch:
        """Configure it."""
        configuration = site.directory / "nginx.conf"
        configuration.write_text(
            _CONFIGURATION.format(
                user=worker_user(),
                directory=site.directory,
                port=site.port,
                upstream_port=site.upstream_port,
                token=site.token,
                ca_file=site.ca_file,
            )
        )
        return Launch((self.program, "-p", site.directory, "-c", configuration))
