"""The web server of the page, with three endpoints: the model, a generated sound and a real sound."""

import io
import ipaddress
import socket
from importlib.resources import files
from urllib.parse import quote

import soundfile

from kgan.audio.notes import LONGEST_NOTE_S
from kgan.data.notes import HELD
from kgan.demo.instrument import SLIDER_RANGE, Timbre
from kgan.errors import InputError
from kgan.text import one_line

LOOPBACK_NAMES = ["localhost", "127.0.0.1", "[::1]"]
LARGEST_SEED, LARGEST_LABEL = 2**32 - 1, 2**31 - 1
LARGEST_HEAD = 16_384  # bytes of an incomplete request after a read of the socket; requests have no body
MOST_CONNECTIONS = 100
CORNERS = 4
NOTE_S = 8  # longest note of a held key, from its attack to the end of its release
LABEL = "label."  # prefix of label kinds in a query, to keep them apart from other parameters
HEADERS = {
    "content-security-policy": "default-src 'self'",  # the page loads nothing from elsewhere
    "x-content-type-options": "nosniff",
    "cache-control": "no-store",  # another model may later be served at this address
}


def build_app(instrument, name, hosts=("*",)):
    """Return the ASGI application of an `Instrument`.

    * `/model.json` lists what can be requested.
    * `/sound.wav?seeds=1,2,3,4&x=0.5&y=0.5&sliders=0,0,0&label.pitch=60` is a sound of a `Timbre`, with labels; with
      `&duration=8` it is a note of 8 seconds.
    * `/real.wav?label.pitch=60&number=0` is a real sound, with its percent-encoded name in the header `x-name`.

    Invalid requests are answered with status 400 and a sentence that says why.

    Args:
        instrument: an `Instrument`.
        name: name of the model on the page.
        hosts: host names under which the server may be reached. A loopback server needs them, because another website could
            otherwise reach it through a host name of its own.
    """
    from starlette.applications import Starlette
    from starlette.middleware import Middleware
    from starlette.middleware.trustedhost import TrustedHostMiddleware
    from starlette.responses import JSONResponse, PlainTextResponse, Response
    from starlette.routing import Mount, Route
    from starlette.staticfiles import StaticFiles

    synthesizer = instrument.synthesizer
    labels = synthesizer.labels

    def model(request):
        return JSONResponse(
            {
                "name": one_line(name),
                "step": int(synthesizer.step),
                "sample_rate_hz": synthesizer.sample_rate_hz,
                "clip_s": synthesizer.clip_s,
                "note": {"duration_s": NOTE_S, "release_s": (1 - HELD) * synthesizer.clip_s} if synthesizer.plays else None,
                "labels": {kind: [[int(value), one_line(labels.named(kind, value))] for value in labels.values[kind]]
                           for kind in labels.kinds},
                "sliders": list(instrument.sliders),
                "slider_range": SLIDER_RANGE,
            }
        )  # fmt: skip

    def sound(request):
        timbre, asked = _timbre(request.query_params), _asked(labels, request.query_params)
        return wav(instrument.play(timbre, asked, _duration_s(request.query_params)))

    def real(request):
        number = _number(request.query_params, "number", 0, LARGEST_SEED)
        audio, called = instrument.real_sound(_asked(labels, request.query_params), number)
        return wav(audio, {"x-name": quote(one_line(called))})

    def wav(audio, headers=None):
        encoded = io.BytesIO()
        soundfile.write(encoded, audio, synthesizer.sample_rate_hz, subtype="PCM_16", format="WAV")
        return Response(encoded.getvalue(), media_type="audio/wav", headers=headers)

    def refused(request, error):
        return PlainTextResponse(str(error), status_code=400)

    page = StaticFiles(directory=str(files("kgan.demo") / "page"), html=True)
    routes = [Route("/model.json", model), Route("/sound.wav", sound), Route("/real.wav", real), Mount("/", page)]
    middleware = [Middleware(TrustedHostMiddleware, allowed_hosts=list(hosts)), Middleware(_WithHeaders)]
    return Starlette(routes=routes, middleware=middleware, exception_handlers={InputError: refused})


def serve(instrument, name, host, port, ready):
    """Serve the page until Ctrl-C.

    Args:
        instrument, name: see `build_app`.
        host: the address to listen on. With a loopback address, no other machine can reach the page.
        port: the port; 0 for any free one.
        ready: function that is called with the page's address.

    Raises:
        InputError: the server cannot listen on the address.
    """
    import uvicorn

    try:
        address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.create_server(address[4][:2], family=address[0])
    except OSError as error:
        rule = "The page needs an address of this machine and a free port."
        raise InputError(f"{rule} Received: {host}, {port} ({error}).") from None
    own = ipaddress.ip_address(address[4][0]).is_loopback
    spoken = f"[{host}]" if ":" in host else host
    app = build_app(instrument, name, [*LOOPBACK_NAMES, spoken] if own else ["*"])
    config = uvicorn.Config(
        app,
        log_level="warning",
        h11_max_incomplete_event_size=LARGEST_HEAD,
        http="h11",
        limit_concurrency=MOST_CONNECTIONS,
        timeout_graceful_shutdown=1,
    )
    with listener:
        ready(f"http://{spoken}:{listener.getsockname()[1]}")
        uvicorn.Server(config).run(sockets=[listener])


class _WithHeaders:
    def __init__(self, app):
        self.app = app

    async def __call__(self, scope, receive, send):
        async def with_headers(message):
            if message["type"] == "http.response.start":
                message["headers"] += [(name.encode(), value.encode()) for name, value in HEADERS.items()]
            await send(message)

        await self.app(scope, receive, with_headers)


def _timbre(query):
    seeds = tuple(_parsed(text, int, "A seed", 0, LARGEST_SEED) for text in query.get("seeds", "").split(","))
    if len(seeds) != CORNERS:
        raise InputError(f"`seeds` must be {CORNERS} integers. Received: {len(seeds)}.")
    texts = query.get("sliders", "").split(",") if query.get("sliders") else []
    sliders = tuple(_parsed(text, float, "A slider", -SLIDER_RANGE, SLIDER_RANGE) for text in texts)
    x, y = (_parsed(query.get(name, "0"), float, f"`{name}`", 0, 1) for name in "xy")
    return Timbre(seeds, x, y, sliders)


def _duration_s(query):
    return _parsed(query["duration"], float, "`duration`", 0, LONGEST_NOTE_S) if "duration" in query else None


def _number(query, name, low, high):
    return _parsed(query.get(name, str(low)), int, f"`{name}`", low, high)


def _parsed(text, kind, name, low, high):
    try:
        value = kind(text)
    except ValueError:
        value = None
    if value is None or not low <= value <= high:
        noun = "an integer" if kind is int else "a number"
        raise InputError(f"{name} must be {noun} from {low} to {high}. Received: {text[:40]}.")
    return value


def _asked(labels, query):
    names = {kind: f"{LABEL}{kind}" for kind in labels.kinds}
    return {kind: _number(query, name, 0, LARGEST_LABEL) for kind, name in names.items() if name in query}
