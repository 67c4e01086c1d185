"""Waiting until an application under a pilot is at rest, however little processor it gets.

Textual's own wait looks at the process's use of the processor: one that gets none seems to have nothing to do.
"""

import asyncio
import time

from support.waiting import LONG_S, until_shown

# What comes less often than this does not paint: the tidying of memory, a list's look at the clock.
_SELDOM_S = 0.45
_QUIET_S = 0.05


def _at_work(pump):
    """Whether a widget, a screen or the application has a message to handle, or is handling one."""
    queue = pump._message_queue
    return pump._running and not pump._closing and not (queue.empty() and queue.ready_event._waiters)


def _to_be_painted(screen):
    """Whether something changes with the screen's next update, at most a 60th of a second from now."""
    return bool(screen._layout_required or screen._repaint_required or screen._dirty_widgets or screen._callbacks)


def _threads_at_work():
    executor = asyncio.get_running_loop()._default_executor
    return executor is not None and not (
        executor._work_queue.empty() and executor._idle_semaphore._value == len(executor._threads)
    )


def _busy(app):
    return (
        any(map(_at_work, [app, *app._registry]))
        or _to_be_painted(app.screen)
        or not app.animator._complete_event.is_set()
        or _threads_at_work()
    )


def _period_s(app):
    """The longest period of a timer that repaints."""
    timers = [timer for node in [app, *app._registry] for timer in node._timers]
    return max((one._interval for one in timers if one._active.is_set() and one._interval < _SELDOM_S), default=0.0)


async def handled(app, most_s=LONG_S):
    """Every message is handled, and all that came of it; what was asked of threads is done; nothing moves."""
    end, calm = time.monotonic() + most_s, 0
    while calm < 3 and app._exception is None and not app._exit:
        await asyncio.sleep(0 if calm else 0.001)
        calm = 0 if _busy(app) else calm + 1
        if time.monotonic() > end:
            assert most_s < LONG_S, "it does not come to rest"
            return


async def at_rest(pilot):
    """As `handled`, and what is painted stays so while every timer of a repaint goes off: in the loop's order, so that
    a slow machine makes this longer."""
    app, end, before = pilot.app, time.monotonic() + LONG_S, None
    while app._exception is None and not app._exit:
        await handled(app)
        app.screen._on_timer_update()
        await handled(app)
        shown = app.screen, app.screen._compositor.render_strips()
        if shown == before:
            return
        assert time.monotonic() < end, "the picture does not come to rest"
        before = shown
        await asyncio.sleep(_period_s(app) * 1.1 + _QUIET_S)


async def painted_first(pilot):
    """The console's first frame is there."""
    await until_shown(pilot, lambda: pilot.app._early is None)
