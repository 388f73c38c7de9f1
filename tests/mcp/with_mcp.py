"""The MCP SDK for Python as a client: lists, calls, is told of progress, cancels, and is asked, on both ways."""

import asyncio
import json
import os
import sys

from mcp import ClientSession, StdioServerParameters, types
from mcp.client.stdio import stdio_client

vespiary, project, url, token = sys.argv[1:]
ENDLESS = "export const meta = { name: 'endless', description: 'd' }\nfor (;;) await tool('echo.echo', { text: 'x' })\n"


async def says_yes(context, params):
    return types.ElicitResult(action="accept", content={"allow": True})


async def use(session, way):
    await session.initialize()
    tools = {tool.name for tool in (await session.list_tools()).tools}
    assert {"files_read", "spawn_subagents", "run_workflow"} <= tools, tools
    read = await session.call_tool("files_read", {"path": "a.txt"})
    assert json.loads(read.content[0].text)["text"] == "hello\n", read

    told = []

    async def progress(done, total, message):
        told.append(done)

    spin = {"tasks": [{"agent": "secrets", "context": {"mode": "scan", "files": ["a.txt"]}}]}
    spawned = await session.call_tool("spawn_subagents", spin, progress_callback=progress)
    assert json.loads(spawned.content[0].text)["value"]["results"][0]["status"] == "ok", spawned

    # A call that would not end by itself is given up by its caller, and the next one is answered all the same.
    looped = {"script": ENDLESS}
    run = json.loads((await session.call_tool("run_workflow", looped)).content[0].text)["run"]
    waiting = {"tasks": [{"agent": "secrets", "context": {"mode": "scan", "files": ["a.txt"] * 200}}] * 200}
    try:
        await asyncio.wait_for(session.call_tool("spawn_subagents", waiting, progress_callback=progress), 3)
    except (TimeoutError, asyncio.TimeoutError):
        pass
    again = await session.call_tool("echo_echo", {"text": "still there"})
    assert "still there" in again.content[0].text, again
    await session.call_tool("run_stop", {"run": run, "now": True})
    for _ in range(600):
        status = json.loads((await session.call_tool("run_status", {"run": run})).content[0].text)["status"]
        if status != "running":
            break
        await asyncio.sleep(0.1)
    assert status == "stopped", status
    assert told == sorted(told), told
    print(f"mcp ({way}): lists, calls, is told of progress ({len(told)} times), cancels")


async def main():
    env = {name: os.environ[name] for name in ("PATH", "HOME", "VESPIARY_HOME") if name in os.environ}
    asks = ["--allow", "write:out", "--ask", "write:out"]
    server = StdioServerParameters(command=vespiary, args=["mcp", "--dir", project, *asks], env=env)
    async with stdio_client(server) as (reader, writer):
        async with ClientSession(reader, writer, elicitation_callback=says_yes) as session:
            await use(session, "stdio")
            wrote = await session.call_tool("files_write", {"path": "out/x.txt", "text": "y"})
            assert json.loads(wrote.content[0].text)["bytes"] == 1, wrote
            print("mcp (stdio): is asked, and its yes counts")


asyncio.run(main())
