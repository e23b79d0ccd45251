package portcullis.workloads.disruption_budgets_test

import data.portcullis.workloads.disruption_budgets

deployment(replicas, cluster) := {
	"request": {"namespace": "shop"},
	"object": {"spec": {"replicas": replicas, "template": {"metadata": {"labels": {"app": "shop"}}}}},
	"cluster": cluster,
}

budget(namespace, selector) := {"resource": "poddisruptionbudgets", "namespace": namespace, "object": {"spec": {"selector": selector}}}

passes(replicas, cluster) if count(disruption_budgets.deny) == 0 with input as deployment(replicas, cluster)

test_a_budget_of_the_namespace_has_to_select_the_pods if {
	not passes(2, [])
	passes(2, [budget("shop", {"matchLabels": {"app": "shop"}})])
	not passes(2, [budget("shop", {"matchLabels": {"app": "other"}})])
	not passes(2, [budget("other", {"matchLabels": {"app": "shop"}})])
}

test_one_of_many_is_enough if passes(2, [budget("shop", {"matchLabels": {"app": "other"}}), budget("shop", {})])

test_a_single_replica_needs_none if passes(1, [])
