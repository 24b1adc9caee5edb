// http-proxy-3 as its users run it: one process, a keep-alive agent, a header put on every request.
// node proxy.mjs PORT UPSTREAM_PORT CA_FILE; the token is in BENCH_TOKEN.
import { readFileSync } from "node:fs";
import https from "node:https";
import httpProxy from "http-proxy-3";

const [port, upstreamPort, caFile] = process.argv.slice(2);

httpProxy
  .createProxyServer({
    target: `https://127.0.0.1:${upstreamPort}`,
    agent: new https.Agent({ keepAlive: true, ca: readFileSync(caFile), minVersion: "TLSv1.3" }),
    changeOrigin: true,
    headers: { authorization: `Bearer ${process.env.BENCH_TOKEN}` },
  })
  .on("error", (error, _request, response) => {
    console.error(error);
    response.writeHead?.(502);
    response.end();
  })
  .listen(Number(port), "127.0.0.1");
