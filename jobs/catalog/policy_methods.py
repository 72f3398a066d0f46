"""What a catalog does with merge policies; the rules are in `policy_records`."""

from collections.abc import Callable

from jobs.catalog import policy_records
from jobs.catalog.policies import MergePolicy, PolicyBody, SavedPolicy
from jobs.catalog.transactions import Transactions
from jobs.faults import Fault


class PolicyCatalog(Transactions):
    """The part of the catalog that keeps merge policies."""

    def merge_policies(self) -> list[MergePolicy]:
        """List the present version of each policy, the oldest policy first."""
        with self._reading() as scope:
            return policy_records.policies(scope)

    def policies_of_all_sandboxes(self) -> dict[str, list[str]]:
        """List the ids of the policies that make profiles by sandbox: what a trigger form offers."""
        with self._reading() as scope:
            return policy_records.policies_by_sandbox(scope)

    def merge_policy(self, policy_id: str, version: int | None = None) -> MergePolicy:
        """Return a policy, as it is or as it was in a version; NotFound when there is none."""
        with self._reading() as scope:
            return policy_records.policy(scope, policy_id, version)

    def create_merge_policy(self, body: PolicyBody, run: str = "") -> SavedPolicy:
        """Create a policy; see `policy_records.create` for the errors."""
        with self._writing(Fault.MERGE_POLICY) as scope:
            return policy_records.create(scope, body, run)

    def change_merge_policy(
        self, policy_id: str, revise: Callable[[MergePolicy], PolicyBody], run: str = ""
    ) -> SavedPolicy:
        """Make a policy say what `revise` makes of it, in one transaction; see `policy_records.change`."""
        with self._writing(Fault.MERGE_POLICY) as scope:
            before = policy_records.policy(scope, policy_id)
            return policy_records.change(scope, policy_id, revise(before), run)

    def delete_merge_policy(self, policy_id: str, run: str = "") -> None:
        """Delete a policy; see `policy_records.delete` for the errors."""
        with self._writing(Fault.MERGE_POLICY) as scope:
            policy_records.delete(scope, policy_id, run)
