package portcullis.network.ingress_nginx_snippets_test

import data.portcullis.network.ingress_nginx_snippets

ingress(annotations) := {
	"object": {"metadata": {"annotations": annotations}, "spec": {}},
	"parameters": {
		"prefixes": ["nginx.ingress.kubernetes.io"],
		"forbidden": ["*-snippet", "auth-tls-*"],
		"forbiddenText": ["\n", "load_module"],
		"forbiddenInPaths": [";"],
	},
}

test_the_annotation_is_removed if {
	some finding in ingress_nginx_snippets.deny with input as ingress({"nginx.ingress.kubernetes.io/auth-tls-match-cn": "x"})
	finding == {
		"msg": "annotation auth-tls-match-cn can write nginx configuration",
		"path": "metadata.annotations[nginx.ingress.kubernetes.io/auth-tls-match-cn]",
		"fix": [{"op": "remove", "path": "metadata.annotations[nginx.ingress.kubernetes.io/auth-tls-match-cn]"}],
	}
}

test_other_prefixes_do_not_count if {
	count(ingress_nginx_snippets.deny) == 0 with input as ingress({
		"nginx.ingress.kubernetes.io.example.com/server-snippet": "x",
		"example.com/server-snippet": "x",
		"server-snippet": "x",
	})
}

test_text_is_compared_in_lower_case if {
	some finding in ingress_nginx_snippets.deny with input as ingress({"nginx.ingress.kubernetes.io/proxy-body-size": "8m; LOAD_MODULE x"})
	finding.msg == "annotation proxy-body-size contains \"load_module\", which nginx could read as configuration"
}

test_a_path_is_replaced if {
	some finding in ingress_nginx_snippets.deny with input as {"object": {"metadata": {}, "spec": {"rules": [{"http": {"paths": [{"path": "/"}, {"path": "/;"}]}}]}}, "parameters": ingress({}).parameters}
	finding.fix == [{"op": "set", "path": "spec.rules[0].http.paths[1].path", "value": "/replace-me"}]
}
