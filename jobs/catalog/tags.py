"""Tags in the spelling of the profile guide, which say whether a dataset feeds the Profile store.

`unifiedProfile: ["enabled:true", "isUpsert:true"]` and `unifiedIdentity: ["enabled:true"]`, in any order, with or
without a space after the colon. `unifiedIdentity` may be left out; it cannot say no while `unifiedProfile` says yes,
since the Profile store needs both.
"""

from collections.abc import Mapping
from typing import Any

_KNOWN = {"unifiedProfile": ("enabled", "isUpsert"), "unifiedIdentity": ("enabled",)}
_EXAMPLE = 'tags: {unifiedProfile: ["enabled:true", "isUpsert:true"], unifiedIdentity: ["enabled:true"]}'


def without_tags(declared: Mapping[str, Any]) -> dict[str, Any]:
    """Return a dataset's declaration with its tags turned into the keys `enabled` and `upsert`.

    Raises:
        ValueError: a tag is unknown or says two things, or a plain key says another thing.
    """
    plain = {key: value for key, value in declared.items() if key != "tags"}
    for key, value in read_tags(declared["tags"]).items():
        if key in plain and str(plain[key]).lower() != str(value).lower():
            raise ValueError(
                f"{key}: {str(plain[key]).lower()} contradicts the tags, which say {str(value).lower()}; give only one"
            )
        plain[key] = value
    return plain


def read_tags(tags: object) -> dict[str, bool]:
    """Read the tags of one dataset: `enabled`, and `upsert` when they say something about it.

    Raises:
        ValueError: a tag is unknown or says two things.
    """
    if not isinstance(tags, Mapping):
        raise ValueError(f"tags is a map of lists, for example {_EXAMPLE}")
    said = {str(tag): _entries(str(tag), entries) for tag, entries in tags.items()}
    profile, identity = said.get("unifiedProfile", {}), said.get("unifiedIdentity", {})
    enabled = profile.get("enabled", False)
    if enabled and identity.get("enabled") is False:
        raise ValueError("tags: unifiedProfile is enabled and unifiedIdentity is not; the Profile store needs both")
    found = {"enabled": enabled} if "unifiedProfile" in said else {}
    return found | ({"upsert": profile["isUpsert"]} if "isUpsert" in profile else {})


def _entries(tag: str, entries: object) -> dict[str, bool]:
    if tag not in _KNOWN:
        raise ValueError(f"tags: unknown tag {tag[:60]!r}; known are {' and '.join(_KNOWN)}")
    if not isinstance(entries, list | tuple):
        raise ValueError(f"tags: {tag} is a list of texts, for example {_EXAMPLE}")
    said: dict[str, bool] = {}
    for entry in entries:
        name, _, value = str(entry).partition(":")
        name, value = name.strip(), value.strip().lower()
        if name not in _KNOWN[tag] or value not in ("true", "false"):
            allowed = ", ".join(f"{known}:true, {known}:false" for known in _KNOWN[tag])
            raise ValueError(f"tags: {tag} has {str(entry)[:60]!r}; allowed are {allowed}")
        if said.setdefault(name, value == "true") is not (value == "true"):
            raise ValueError(f"tags: {tag} says both {name}:true and {name}:false")
    return said
