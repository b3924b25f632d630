"""MQTT topics to the filters that match them: a tree of levels, walked breadth first.

In: filters with values, topics. Out: the values whose filters match, oldest first. Refused: with TopicError what is no
filter or topic, with KeyError the removal of what is not there.

`_routes` holds what is there: an entry is added and taken away by one step that no thread can interrupt. The tree
follows: its changes stand in a queue, and whoever can works the queue off, one thread at a time. A finaliser that adds
or removes while a change of the same thread is under way leaves its own to that one, so that no change ever sees half
of another. Readers take no lock.
"""

from __future__ import annotations

from collections import deque
from itertools import count
from threading import RLock
from typing import TYPE_CHECKING, Any

from evcore._pure.topic import ANY, REST, Settings, filter_levels, topic_text
from evcore.errors import TopicError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import Self

__all__ = ["Router"]


class _Node:
    """A beginning that some filter has: its children by level, `+` among them, and the entries that end here."""

    __slots__ = ("children", "entries", "level", "parent", "rest")

    def __init__(self, parent: _Node | None, level: str) -> None:
        self.parent = parent
        self.level = level
        self.children: dict[str, _Node] = {}
        self.entries: dict[int, _Entry] = {}
        # Those that end with `#` below this node.
        self.rest: dict[int, _Entry] = {}


class _Entry:
    """A value under a filter; `age` is its place in the order of addition."""

    __slots__ = ("age", "captures", "filter", "levels", "value")

    def __init__(self, age: int, filter: str, levels: list[str], captures: list[tuple[int, str]], value: Any) -> None:
        self.age = age
        self.filter = filter
        self.levels = levels
        self.captures = captures
        self.value = value


class Router:
    """See the stub of `evcore._native`."""

    _settings: Settings
    _route: Callable[[Any, str, dict[str, str]], Any]
    _once: bool
    _root: _Node
    _routes: dict[int, _Entry]
    _ages: count[int]
    _queue: deque[tuple[Callable[[_Entry], None], _Entry]]
    _lock: RLock
    _working: bool

    def __new__(
        cls,
        *,
        route: Callable[[Any, str, dict[str, str]], Any],
        once: bool,
        captures: bool,
        share: str,
        bare_share: str,
        nested_share: str,
        prefixes: list[str],
        levels: int | None,
        controls: bool,
        forbidden: str,
    ) -> Self:
        self = super().__new__(cls)
        self._settings = Settings(captures, share, bare_share, nested_share, prefixes, levels, controls, forbidden)
        self._route = route
        self._once = once
        self._root = _Node(None, "")
        self._routes = {}
        self._ages = count()
        self._queue = deque()
        self._lock = RLock()
        self._working = False
        return self

    def add(self, filter: str, value: Any) -> None:
        parsed = filter_levels(filter, self._settings)
        entry = _Entry(next(self._ages), filter, parsed.levels, parsed.captures, value)
        # In this order: what can be found in `_routes` has its place in the queue.
        self._queue.append((self._hang, entry))
        self._routes[entry.age] = entry
        self._work()

    def remove(self, filter: str, value: Any) -> None:
        levels = filter_levels(filter, self._settings).levels
        while (entry := self._search(filter, levels, value)) is not None:
            # A comparison, or another thread, may have removed it meanwhile; then the search begins anew.
            if self._routes.pop(entry.age, None) is not None:
                self._queue.append((self._unhang, entry))
                self._work()
                return
        raise KeyError(f"no such value was added under the filter {filter!r}")

    def match(self, topic: str | bytes) -> list[Any]:
        values = [entry.value for entry in self._find(topic_text(topic, self._settings))]
        return list({id(value): value for value in values}.values()) if self._once else values

    def match_many(self, topics: Iterable[str | bytes]) -> list[list[Any]]:
        return [self.match(topic) for topic in topics]

    def routes(self, topic: str | bytes) -> list[Any]:
        text = topic_text(topic, self._settings)
        levels = text.split("/")
        return [
            self._route(entry.value, entry.filter, {name: levels[index] for index, name in entry.captures})
            for entry in self._find(text)
        ]

    def clear(self) -> None:
        for age in list(self._routes):
            entry = self._routes.pop(age, None)
            if entry is not None:
                self._queue.append((self._unhang, entry))
        self._work()

    def __len__(self) -> int:
        return len(self._routes)

    def __contains__(self, item: object) -> bool:
        if not isinstance(item, tuple) or len(item) != 2 or not isinstance(item[0], str):
            return False
        try:
            levels = filter_levels(item[0], self._settings).levels
        except TopicError:
            return False
        return self._search(item[0], levels, item[1]) is not None

    def __iter__(self) -> Iterator[tuple[str, Any]]:
        return iter([(entry.filter, entry.value) for _, entry in sorted(self._routes.items())])

    def _find(self, topic: str) -> list[_Entry]:
        found: list[_Entry] = []
        here = [self._root]
        # A filter that begins with a wildcard never matches a topic that begins with `$` (§4.7.2).
        wild = topic[0] != "$"
        for level in topic.split("/"):
            following = []
            for node in here:
                if wild:
                    found += list(node.rest.values())
                    if (child := node.children.get(ANY)) is not None:
                        following.append(child)
                if (child := node.children.get(level)) is not None:
                    following.append(child)
            here = following
            wild = True
        for node in here:
            found += list(node.entries.values())
            # `a/#` matches its parent `a` too.
            found += list(node.rest.values())
        found.sort(key=lambda entry: entry.age)
        return [entry for entry in found if entry.age in self._routes]

    def _search(self, filter: str, levels: list[str], value: Any) -> _Entry | None:
        """The entry of the very object under exactly this filter, else the first whose value equals it."""
        place = self._place(levels)
        # What still waits for its place in the tree comes last, for it is the newest.
        known = dict(place or {}) | {entry.age: entry for _, entry in list(self._queue)}
        candidates = [entry for age, entry in known.items() if entry.filter == filter and age in self._routes]
        for entry in candidates:
            if entry.value is value:
                return entry
        for entry in candidates:
            if entry.value == value:
                return entry
        return None

    def _place(self, levels: list[str]) -> dict[int, _Entry] | None:
        """Where entries with these levels hang."""
        node = self._root
        for level in levels:
            if level == REST:
                return node.rest
            child = node.children.get(level)
            if child is None:
                return None
            node = child
        return node.entries

    def _work(self) -> None:
        with self._lock:
            # Set: a change further up this very stack is under way, and goes on with the queue.
            while self._queue and not self._working:
                self._working = True
                try:
                    while self._queue:
                        step, entry = self._queue[0]
                        try:
                            step(entry)
                        finally:
                            self._queue.popleft()
                finally:
                    self._working = False

    def _hang(self, entry: _Entry) -> None:
        node = self._root
        for level in entry.levels:
            if level == REST:
                node.rest[entry.age] = entry
                return
            child = node.children.get(level)
            if child is None:
                child = node.children[level] = _Node(node, level)
            node = child
        node.entries[entry.age] = entry

    def _unhang(self, entry: _Entry) -> None:
        node = self._root
        place = node.entries
        for level in entry.levels:
            if level == REST:
                place = node.rest
                break
            node = node.children[level]
            place = node.entries
        del place[entry.age]
        while node.parent is not None and not (node.children or node.entries or node.rest):
            del node.parent.children[node.level]
            node = node.parent
