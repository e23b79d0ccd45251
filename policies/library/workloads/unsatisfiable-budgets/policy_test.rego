package portcullis.workloads.unsatisfiable_budgets_test

import data.portcullis.workloads.unsatisfiable_budgets

owner(spec) := {"resource": "deployments", "namespace": "shop", "object": {"spec": object.union(spec, {"template": {"metadata": {"labels": {"app": "shop"}}}})}}

budget(available, owners) := {
	"request": {"namespace": "shop"},
	"object": {"spec": {"minAvailable": available, "selector": {"matchLabels": {"app": "shop"}}}},
	"cluster": [owner(spec) | some spec in owners],
}

found(available, owners) if count(unsatisfiable_budgets.deny) == 1 with input as budget(available, owners)

test_replicas_of_all_selected_workloads_count_together if {
	found(4, [{"replicas": 2}, {"replicas": 2}])
	not found(3, [{"replicas": 2}, {"replicas": 2}])
}

test_replicas_left_open_mean_one if found(1, [{}])

test_nothing_to_protect_is_no_finding if {
	not found(1, [])
	not found(1, [{"replicas": 0}])
}

test_shares_are_left_to_others if not found("100%", [{"replicas": 1}])
