"""Merge policies with their versions; every sandbox that has a dataset gets the one that is shipped."""

from datetime import UTC, datetime

import sqlalchemy as sa
from alembic import op

from jobs.catalog.schema import Utc

revision = "0002"
down_revision = "0001"

# As it was shipped with this revision.
_SHIPPED = {
    "name": "Default",
    "schema": {"name": "_xdm.context.profile"},
    "identityGraph": {"type": "pdg"},
    "attributeMerge": {"type": "timestampOrdered", "order": []},
    "default": True,
    "isActiveOnEdge": False,
}


def upgrade() -> None:
    """Create the tables and the policies."""
    policies = op.create_table(
        "merge_policies",
        sa.Column("sandbox", sa.String(31), nullable=False),
        sa.Column("id", sa.String(63), nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("schema_name", sa.String(100), nullable=False),
        sa.Column("is_default", sa.Boolean, nullable=False),
        sa.Column("is_active_on_edge", sa.Boolean, nullable=False),
        sa.Column("deleted_at", Utc),
        sa.Column("created_at", Utc, nullable=False),
        sa.Column("updated_at", Utc, nullable=False),
        sa.PrimaryKeyConstraint("sandbox", "id", name=op.f("pk_merge_policies")),
    )
    _unique_where("uq_merge_policies_default", ["sandbox", "schema_name"], "is_default AND deleted_at IS NULL")
    _unique_where("uq_merge_policies_on_edge", ["sandbox"], "is_active_on_edge AND deleted_at IS NULL")
    versions = op.create_table(
        "merge_policy_versions",
        sa.Column("sandbox", sa.String(31), nullable=False),
        sa.Column("policy_id", sa.String(63), nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("definition", sa.JSON, nullable=False),
        sa.Column("updated_at", Utc, nullable=False),
        sa.PrimaryKeyConstraint("sandbox", "policy_id", "version", name=op.f("pk_merge_policy_versions")),
        sa.ForeignKeyConstraint(
            ["sandbox", "policy_id"],
            ["merge_policies.sandbox", "merge_policies.id"],
            name=op.f("fk_merge_policy_versions_sandbox_policy_id"),
        ),
    )
    _ship(policies, versions)


def _unique_where(name: str, columns: list[str], condition: str) -> None:
    where = sa.text(condition)
    op.create_index(name, "merge_policies", columns, unique=True, sqlite_where=where, postgresql_where=where)


def _ship(policies: sa.Table, versions: sa.Table) -> None:
    connection = op.get_bind()
    sandboxes = connection.execute(sa.text("SELECT DISTINCT sandbox FROM datasets")).scalars().all()
    now = datetime.now(UTC)
    for sandbox in sandboxes:
        policy = {"sandbox": sandbox, "id": "default", "version": 1, "schema_name": "_xdm.context.profile"}
        times = {"created_at": now, "updated_at": now}
        connection.execute(sa.insert(policies).values(**policy, **times, is_default=True, is_active_on_edge=False))
        version = {"sandbox": sandbox, "policy_id": "default", "version": 1, "definition": _SHIPPED, "updated_at": now}
        connection.execute(sa.insert(versions).values(**version))
