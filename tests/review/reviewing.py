"""A review that is served in a thread of the test's own process."""

import asyncio
import threading
from contextlib import contextmanager, suppress

from raycolor.colorize.finished import finished_job
from raycolor.review.config import ReviewConfig
from raycolor.review.driver import choices_of
from raycolor.review.server import ReviewServer
from raycolor.review.session import Session
from raycolor.storage import open_store


@contextmanager
def session_of(dest, who="Ann", **settings):
    """Open a session over a job."""
    store = open_store(dest)
    record = finished_job(store)
    config = ReviewConfig(dest=str(dest), **settings)
    session = Session(store, record, who, choices_of(config, record), None)
    try:
        yield session
    finally:
        session.close()


@contextmanager
def served(session):
    """Serve a session; gives the page's address."""
    ready, held = threading.Event(), {}

    async def serve():
        held["loop"], held["task"] = asyncio.get_running_loop(), asyncio.current_task()
        await ReviewServer(session).serve(0, lambda address: (held.update(address=address), ready.set()))

    def run():
        with suppress(asyncio.CancelledError):
            asyncio.run(serve())

    thread = threading.Thread(target=run)
    thread.start()
    assert ready.wait(60)
    try:
        yield held["address"]
    finally:
        held["loop"].call_soon_threadsafe(held["task"].cancel)
        thread.join()
