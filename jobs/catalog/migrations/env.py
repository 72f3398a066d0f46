"""Run the migrations on the connection that `jobs.catalog.migrating` hands over, in its transaction."""

from alembic import context

from jobs.catalog.schema import Base

# SQLite can undo DDL too: its transactions are begun by jobs.catalog.connection, not by the driver.
context.configure(
    connection=context.config.attributes["connection"], target_metadata=Base.metadata, transactional_ddl=True
)
context.run_migrations()
