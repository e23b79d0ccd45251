package portcullis.network.route_cross_namespace_test

import data.portcullis.network.route_cross_namespace

route(spec, grants) := {
	"request": {"namespace": "shop", "kind": {"group": "gateway.networking.k8s.io", "kind": "HTTPRoute"}},
	"object": {"spec": spec},
	"cluster": [{"group": "gateway.networking.k8s.io", "resource": "referencegrants", "namespace": "stock", "object": {"spec": grant}} |
		some grant in grants
	],
	"parameters": {"gatewayNamespaces": ["gateways-*"]},
}

backend(ref) := {"rules": [{"backendRefs": [ref]}]}

grant(to) := {"from": [{"group": "gateway.networking.k8s.io", "kind": "HTTPRoute", "namespace": "shop"}], "to": [to]}

test_the_backend_is_named if {
	some finding in route_cross_namespace.deny with input as route(backend({"name": "db", "namespace": "stock"}), [])
	finding == {
		"msg": "the backend stock/db is in another namespace, which has no ReferenceGrant for it",
		"path": "spec.rules[0].backendRefs[0].namespace",
		"fix": [{"op": "remove", "path": "spec.rules[0].backendRefs[0].namespace"}],
	}
}

test_a_grant_is_for_the_kind_of_the_reference if {
	spec := backend({"group": "example.com", "kind": "Bucket", "name": "db", "namespace": "stock"})
	count(route_cross_namespace.deny) == 0 with input as route(spec, [grant({"group": "example.com", "kind": "Bucket"})])
	count(route_cross_namespace.deny) == 1 with input as route(spec, [grant({"group": "", "kind": "Service"})])
}

test_shared_gateways_are_matched_by_glob if {
	count(route_cross_namespace.deny) == 0 with input as route({"parentRefs": [{"name": "a", "namespace": "gateways-public"}]}, [])
	count(route_cross_namespace.deny) == 1 with input as route({"parentRefs": [{"name": "a", "namespace": "stock"}]}, [])
}

test_a_shared_namespace_is_no_backend if {
	count(route_cross_namespace.deny) == 1 with input as route(backend({"name": "a", "namespace": "gateways-public"}), [])
}
