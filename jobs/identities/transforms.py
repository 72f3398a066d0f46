"""Links to components to profile ids: pure functions of frames.

A *component* is the identities that links join. Its profile id is made from the identity that was seen first among its
members, so it is a function of the links alone: whatever the order in which batches were stitched, and however often.
First is the earliest instant of ingestion; of one instant the first by dataset id, batch, row, then identity.

Stitching works on *nodes*: the components that stand already, by profile id, and identities that are new, each by the
profile id that it would have alone. Only links between two nodes join anything.
"""

from collections.abc import Sequence

from pyspark.sql import Column as SparkColumn, DataFrame, Window, functions as F

from jobs.lake.keyed_table import DELETE, OP, ORD, PUT, KeyedTable, Mode
from jobs.lake.store import Store
from jobs.lake.tables import Column

IDENTITY, LINKED, DATASET, PROFILE_ID, MERGED_INTO = "identity", "linked", "_dataset", "profile_id", "merged_into"
FIRST, WAS_PROFILE, WAS_FIRST = "first", "was_profile", "was_first"
NODE, LABEL, ONE, OTHER = "node", "label", "one", "other"
CHANGE, CREATED, CHANGED, REMOVED = "change", "created", "changed", "removed"
_HEX_DIGITS = 32
_FIRST_COLUMNS = (
    Column(name="first_at", type="timestamp", comment="Instant of ingestion of the row that named it first"),
    Column(name="first_dataset", type="string", comment="Dataset of that row"),
    Column(name="first_seq", type="long", comment="Batch of that row among those of its dataset"),
    Column(name="first_ord", type="long", comment="Place of that row in its batch"),
)
_FIRST_TYPE = f"struct<{','.join(f'{column.name}:{column.type}' for column in _FIRST_COLUMNS)}>"


def identities_table(store: Store) -> KeyedTable:
    """Define `identities`: whose each identity is. A run is that of a refresh, and counts once that is published."""
    return KeyedTable(
        path=store.path("identities"),
        name="identities",
        comment="The profile that each identity belongs to by the identity graph, and when it was named first.",
        key=(Column(name=IDENTITY, type="string", comment="<namespace>:<value>"),),
        payload=(Column(name=PROFILE_ID, type="string", comment="Profile that it belongs to"), *_FIRST_COLUMNS),
        mode=Mode.REPLACE,
        max_runs=4,
    )


def merged_ids_table(store: Store) -> KeyedTable:
    """Define `merged_ids`: what became of a profile id that is none any more."""
    return KeyedTable(
        path=store.path("merged_ids"),
        name="merged_ids",
        comment="Profile ids that ended, and the id that its identities went to then; that one may have ended since.",
        key=(Column(name=PROFILE_ID, type="string", comment="Id that ended"),),
        payload=(Column(name=MERGED_INTO, type="string", comment="Id that its identities went to"),),
        mode=Mode.REPLACE,
    )


def profile_id_of(identity: SparkColumn) -> SparkColumn:
    """Return the id of the profile that an identity was first of, or is alone."""
    return F.substring(F.sha2(identity, 256), 1, _HEX_DIGITS)


def sightings(links: DataFrame) -> DataFrame:
    """Say when each identity was named first.

    Grain in: rows of links tables, with `_dataset`. Grain out: one row per identity named in them.

    Returns:
        identity string; first struct of instant, dataset, seq, ord, which compares as the order of naming.
    """
    named = links.select(
        F.explode(F.array(IDENTITY, LINKED)).alias(IDENTITY),
        F.struct(
            F.col("_at").alias("first_at"),
            F.col(DATASET).alias("first_dataset"),
            F.col("_seq").alias("first_seq"),
            F.col(ORD).alias("first_ord"),
        ).alias(FIRST),
    )
    return named.where(F.col(IDENTITY).isNotNull()).groupBy(IDENTITY).agg(F.min(FIRST).alias(FIRST))


def pairs(links: DataFrame) -> DataFrame:
    """Return the pairs of identities that links join: identity, linked."""
    return links.where(F.col(LINKED).isNotNull()).select(IDENTITY, LINKED)


def as_known(identities: DataFrame) -> DataFrame:
    """Return rows of `identities` as what was known before: identity, was_profile, was_first."""
    first = F.struct(*(column.name for column in _FIRST_COLUMNS))
    return identities.select(IDENTITY, F.col(PROFILE_ID).alias(WAS_PROFILE), first.alias(WAS_FIRST))


def seen(named: DataFrame, known: DataFrame, anew: bool) -> DataFrame:
    """Lay what links say over what is known of the same identities.

    Grain in: one row per identity each. Grain out: one row per identity of `named`.

    Args:
        named: from `sightings`.
        known: from `as_known`; of identities that `named` lacks it says nothing here.
        anew: every identity is a node by itself, as if no component stood yet.

    Returns:
        identity, first (the earlier one of both), was_profile and was_first (null when not known), node.
    """
    joined = named.join(known, IDENTITY, "left")
    alone = profile_id_of(F.col(IDENTITY))
    return joined.select(
        IDENTITY,
        (F.col(FIRST) if anew else F.least(FIRST, WAS_FIRST)).alias(FIRST),
        WAS_PROFILE,
        WAS_FIRST,
        (alone if anew else F.coalesce(WAS_PROFILE, alone)).alias(NODE),
    )


def edges(linked: DataFrame, identities: DataFrame) -> DataFrame:
    """Return the pairs of different nodes that links join: one, other; each pair once in its order.

    Args:
        linked: from `pairs`.
        identities: from `seen`, with a row for every identity in `linked`.
    """
    one = identities.select(IDENTITY, F.col(NODE).alias(ONE))
    other = identities.select(F.col(IDENTITY).alias(LINKED), F.col(NODE).alias(OTHER))
    joined = linked.join(one, IDENTITY).join(other, LINKED)
    apart = joined.where(F.col(ONE) != F.col(OTHER))
    return apart.select(F.least(ONE, OTHER).alias(ONE), F.greatest(ONE, OTHER).alias(OTHER)).distinct()


def is_earlier() -> SparkColumn:
    """Tell whether an identity was named earlier than was known: its component's id may change."""
    return F.col(WAS_FIRST).isNotNull() & (F.col(FIRST) < F.col(WAS_FIRST))


def reassigned(identities: DataFrame, labels: DataFrame, known: DataFrame) -> DataFrame:
    """Give every identity of the components that links touch its profile id.

    Args:
        identities: from `seen`.
        labels: node, label: nodes of one label are one component now; a node without a label stays what it is.
        known: from `as_known`, all identities; only those of touched components are used.

    Returns:
        identity, profile_id, first, was_profile, was_first: one row per identity that is new or whose component was
        joined, or may have another first member.
    """
    touched = labels.select(NODE).union(identities.where(is_earlier()).select(NODE)).distinct()
    moved = F.col("touched").isNotNull() | F.col(WAS_PROFILE).isNull()
    marked = touched.select(NODE, F.lit(True).alias("touched"))
    own = identities.join(marked, NODE, "left").where(moved).drop("touched")
    others = (
        known.select(IDENTITY, F.col(WAS_FIRST).alias(FIRST), WAS_PROFILE, WAS_FIRST, F.col(WAS_PROFILE).alias(NODE))
        .join(touched, NODE, "left_semi")
        .join(identities.select(IDENTITY), IDENTITY, "left_anti")
    )
    return identified(own.unionByName(others), labels)


def identified(members: DataFrame, labels: DataFrame) -> DataFrame:
    """Give the members of whole components their profile ids: identity, profile_id, first, was_profile, was_first."""
    component = members.join(labels, NODE, "left").withColumn(LABEL, F.coalesce(LABEL, NODE))
    oldest = F.min(F.struct(FIRST, IDENTITY)).over(Window.partitionBy(LABEL)).getField(IDENTITY)
    return component.select(IDENTITY, profile_id_of(oldest).alias(PROFILE_ID), FIRST, WAS_PROFILE, WAS_FIRST)


def left_out(known: DataFrame) -> DataFrame:
    """Return identities that leave the graph in the columns of `identified`: their new profile id is null."""
    nobody, never = F.lit(None).cast("string"), F.lit(None).cast(_FIRST_TYPE)
    return known.select(IDENTITY, nobody.alias(PROFILE_ID), never.alias(FIRST), WAS_PROFILE, WAS_FIRST)


def changes(assigned: DataFrame) -> DataFrame:
    """Say of each identity what happens to it: the same rows with `change`, null when nothing does."""
    differs = ~(F.col(PROFILE_ID).eqNullSafe(F.col(WAS_PROFILE)) & F.col(FIRST).eqNullSafe(F.col(WAS_FIRST)))
    return assigned.withColumn(
        CHANGE,
        F.when(F.col(PROFILE_ID).isNull(), REMOVED).when(F.col(WAS_PROFILE).isNull(), CREATED).when(differs, CHANGED),
    )


def identity_rows(assigned: DataFrame) -> DataFrame:
    """Return the run of `identities`: what differs from before."""
    changed = changes(assigned).where(F.col(CHANGE).isNotNull())
    return changed.select(
        IDENTITY,
        PROFILE_ID,
        f"{FIRST}.*",
        F.when(F.col(CHANGE) == REMOVED, DELETE).otherwise(PUT).alias(OP),
        F.lit(0).cast("long").alias(ORD),
    )


def ended(assigned: DataFrame) -> DataFrame:
    """Return the profile ids that no identity has any more, and where their identities went: profile_id, merged_into.

    When they went to several, it is the one of the member that was seen first; null when none of them stayed.
    """
    stayed = F.when(F.col(PROFILE_ID).isNotNull(), F.struct(FIRST, IDENTITY, PROFILE_ID))
    before = assigned.where(F.col(WAS_PROFILE).isNotNull())
    went = before.groupBy(F.col(WAS_PROFILE).alias("old")).agg(F.min(stayed).getField(PROFILE_ID).alias(MERGED_INTO))
    standing = assigned.where(F.col(PROFILE_ID).isNotNull()).select(F.col(PROFILE_ID).alias("old")).distinct()
    return went.join(standing, "old", "left_anti").select(F.col("old").alias(PROFILE_ID), MERGED_INTO)


def standing_again(assigned: DataFrame, merged: DataFrame) -> DataFrame:
    """Return the profile ids that had ended, by rows of `merged_ids`, and that identities have again: profile_id."""
    new = assigned.where(F.col(PROFILE_ID).isNotNull() & ~F.col(PROFILE_ID).eqNullSafe(F.col(WAS_PROFILE)))
    return merged.select(PROFILE_ID).join(new.select(PROFILE_ID), PROFILE_ID, "left_semi")


def merged_rows(over: DataFrame, again: DataFrame) -> DataFrame:
    """Return the run of `merged_ids`: ids that end, from `ended`, and deletes of those that stand again."""
    puts = over.where(F.col(MERGED_INTO).isNotNull()).withColumn(OP, F.lit(PUT))
    deletes = again.select(PROFILE_ID, F.lit(None).cast("string").alias(MERGED_INTO), F.lit(DELETE).alias(OP))
    return puts.unionByName(deletes).withColumn(ORD, F.lit(0).cast("long"))


def touched_profiles(named: DataFrame, assigned: DataFrame) -> DataFrame:
    """Return the profiles of identities that links name, as they are called now: profile_id."""
    now = assigned.select(IDENTITY, F.col(PROFILE_ID), F.lit(True).alias("known"))
    joined = named.select(IDENTITY, WAS_PROFILE).join(now, IDENTITY, "left")
    present = F.when(F.col("known"), F.col(PROFILE_ID)).otherwise(F.col(WAS_PROFILE))
    return joined.select(present.alias(PROFILE_ID)).where(F.col(PROFILE_ID).isNotNull()).distinct()


def within(links: DataFrame, members: DataFrame) -> DataFrame:
    """Return what links say of members alone: pairs of two members, and what names one by itself."""
    one, other = members.select(IDENTITY), members.select(F.col(IDENTITY).alias(LINKED), F.lit(True).alias("stays"))
    beginning = links.join(one, IDENTITY, "left_semi").join(other, LINKED, "left")
    kept = beginning.withColumn(LINKED, F.when(F.col("stays"), F.col(LINKED))).drop("stays")
    # A member whose row began with one that left was still named by it.
    ending = links.join(one, IDENTITY, "left_anti").join(other, LINKED, "left_semi")
    alone = ending.withColumns({IDENTITY: F.col(LINKED), LINKED: F.lit(None).cast("string")})
    return kept.unionByName(alone.select(kept.columns))


def all_of(frames: Sequence[DataFrame]) -> DataFrame:
    """Put frames of the same columns together."""
    first, *others = frames
    for frame in others:
        first = first.unionByName(frame)
    return first
