"""The proxy that one writes with FastAPI and httpx: uvicorn runs it, one process."""

from __future__ import annotations

import os
import ssl
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import httpx
from fastapi import FastAPI, Request
from starlette.background import BackgroundTask
from starlette.responses import StreamingResponse

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

BASE_URL = os.environ["BENCH_BASE_URL"]
AUTHORIZATION = f"Bearer {os.environ['BENCH_TOKEN']}"
METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"]
#: Those of the connection, not of the message (RFC 9110, section 7.6.1); httpx and uvicorn set their own.
HOP_BY_HOP = {"connection", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade"}


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    context = ssl.create_default_context(cafile=os.environ["BENCH_CA_FILE"])
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    async with httpx.AsyncClient(base_url=BASE_URL, verify=context, timeout=60) as client:
        app.state.client = client
        yield


app = FastAPI(lifespan=lifespan)


@app.api_route("/{path:path}", methods=METHODS)
async def forward(request: Request) -> StreamingResponse:
    headers = [
        (name, value)
        for name, value in request.headers.items()
        if name not in HOP_BY_HOP and name not in {"host", "authorization"}
    ]
    client: httpx.AsyncClient = request.app.state.client
    outgoing = client.build_request(
        request.method,
        httpx.URL(path=request.url.path, query=request.url.query.encode()),
        headers=[*headers, ("Authorization", AUTHORIZATION)],
        content=await request.body(),
    )
    answer = await client.send(outgoing, stream=True)
    return StreamingResponse(
        answer.aiter_raw(),
        status_code=answer.status_code,
        headers={name: value for name, value in answer.headers.items() if name not in HOP_BY_HOP},
        background=BackgroundTask(answer.aclose),
    )
