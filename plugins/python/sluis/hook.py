"""Puts a hook of the plugin's behind the contract: what it raises is a decision, or is told before the instance
traps."""

import gc
import sys
from collections import deque
from collections.abc import Callable, Iterator
from importlib.machinery import PathFinder
from struct import Struct
from traceback import walk_tb
from types import ModuleType

from wit_world.imports import panic
from wit_world.imports.types import ResponseChange

from .decision import Decision, refuse
from .json import Invalid

#: Bytes of a note, and the words that it is told in.
NOTE, WORDS = 120, Struct("<15Q")
#: Longest text that is told, bytes: the host shows little more. Its end is kept, where the error stands.
MOST = 4 * NOTE
#: Longest message of an error in it, characters, and most of the places that led there.
MESSAGE, PLACES = 320, 12

# An instance serves one request and is then gone: nothing is worth collecting.
gc.disable()


def guard(plugin: ModuleType, name: str) -> Callable:
    """The plugin's function of this name as the method that the contract calls."""
    # A plugin that judges nothing leaves answers to the gateway.
    hook = getattr(plugin, name, (lambda *_: None) if name == "judge" else None)
    if not callable(hook):
        raise TypeError(f"src/plugin.py has no function {name}")
    said = {"on_response": _change, "shape": _preparation, "judge": _verdict}.get(name, _decision)

    def guarded(_self, *told):
        # From here on these would trap without a word.
        sys.stdout = sys.stderr = NOWHERE
        sys.meta_path = FINDERS
        try:
            return said(hook, *told)
        except BaseException as error:
            described = "".join(_described(error))
        _tell(described)
        # In the place of the error, which would be shown once more, to nobody.
        raise Told

    return guarded


def _decision(hook: Callable, request):
    try:
        decision = hook(request)
    except Decision as raised:
        decision = raised
    except Invalid as invalid:
        decision = refuse(422, invalid.kind, invalid.title, invalid.detail, invalid.pointer)
    if not isinstance(decision, Decision):
        raise TypeError(f"{hook.__name__} returned no decision: {decision!r}")
    return decision.said


def _change(hook: Callable, response) -> ResponseChange:
    change = hook(response)
    if not isinstance(change, ResponseChange):
        raise TypeError(f"{hook.__name__} returned no change: {change!r}")
    return change


def _preparation(hook: Callable, event):
    from .event import Preparation, dead

    try:
        said = hook(event)
    except Preparation as raised:
        said = raised
    except Invalid as invalid:
        # An event that is not what it must be never will be.
        said = dead(f"{invalid.pointer}: {invalid.detail}"[:200])
    if not isinstance(said, Preparation):
        raise TypeError(f"{hook.__name__} returned no preparation: {said!r}")
    return said.preparation


def _verdict(hook: Callable, event, answer):
    from .event import Verdict

    try:
        said = hook(event, answer)
    except Verdict as raised:
        said = raised
    if said is None:
        return None
    if not isinstance(said, Verdict):
        raise TypeError(f"{hook.__name__} returned no verdict: {said!r}")
    return said.verdict


class Told(Exception):
    """Traps: all is said."""


class Nowhere:
    """In the place of the standard streams."""

    def write(self, _text: str) -> None:
        raise OSError("there is nowhere to print to, but a log: from sluis import log")

    def flush(self) -> None:
        pass


class TooLate:
    """In the place of what looks for modules in files."""

    @staticmethod
    def find_spec(name: str, *_where: object) -> None:
        raise ModuleNotFoundError(f"{name} must be imported at the top of a module: a call has no files", name=name)


NOWHERE = Nowhere()
FINDERS = [finder for finder in sys.meta_path if finder is not PathFinder] + [TooLate]


def _described(error: BaseException) -> Iterator[str]:
    """As the interpreter shows it, the error last; without lines of source, which would have to be read from files."""
    before = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    if before is not None:
        yield from _described(before)
        yield "then "
    for frame, line in deque(walk_tb(error.__traceback__), PLACES):
        code = frame.f_code
        if code.co_filename != __file__:
            # Folders of sources are called /0, /1 … where the plugin is built.
            yield f"{code.co_filename.split('/', 2)[-1]}:{line} in {code.co_qualname}\n"
    yield f"{type(error).__name__}: {str(error)[:MESSAGE]}\n"


def _tell(text: str) -> None:
    told = text.strip().encode(errors="replace")[-MOST:]
    for at in range(0, len(told), NOTE):
        note = told[at : at + NOTE].ljust(NOTE, b"\0")
        panic.note(NOTE, WORDS.unpack(note))
