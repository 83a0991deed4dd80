"""PostgreSQL's own log as a source.

Reading: source, over session (libpq on asyncio), stream, changes, load; catalog and published look at the server.
Around it: statements, safety, setup and preparation make a database ready; facts and inspection look at a live one.
"""
