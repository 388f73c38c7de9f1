"""FastMCP as a client, over HTTP with a token."""

import asyncio
import sys

from fastmcp import Client
from fastmcp.client.auth import BearerAuth
from fastmcp.exceptions import ToolError

vespiary, project, url, token = sys.argv[1:]


async def main():
    told = []

    async def progress(done, total, message):
        told.append((done, message))

    async with Client(url, auth=BearerAuth(token), progress_handler=progress) as client:
        tools = {tool.name: tool for tool in await client.list_tools()}
        assert "files_read" in tools, sorted(tools)
        read = await client.call_tool("files_read", {"path": "a.txt"})
        assert read.structured_content["text"] == "hello\n", read
        try:
            await client.call_tool("files_write", {"path": "b.txt", "text": "x"})
            raise AssertionError("a file was written that nobody granted")
        except ToolError as error:
            assert "needs write:" in str(error), error
        resources = [str(resource.uri) for resource in await client.list_resources()]
        assert "vespiary://runs" in resources, resources
        runs = await client.read_resource("vespiary://runs")
        assert "MCP: " in runs[0].text, runs
    try:
        async with Client(url, auth=BearerAuth("0" * 32)):
            raise AssertionError("a wrong token was let in")
    except AssertionError:
        raise
    except Exception:
        pass
    print("fastmcp (http): lists, calls, reads, and is refused with another token")


asyncio.run(main())
