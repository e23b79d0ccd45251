{{/* CEL: who may, of those that run the cluster. */}}
{{- define "portcullis.administers" -}}
request.userInfo.username in {{ prepend .Values.guard.adminUsers "system:apiserver" | toJson }} || has(request.userInfo.groups) && request.userInfo.groups.exists(g, g in {{ toJson .Values.guard.adminGroups }})
{{- if .Values.guard.administrators }} || authorizer.group('policy.portcullis.dev').resource('installations').check('administer').allowed(){{ end }}
{{- end }}

{{/* CEL: is a service account of ours, of the components named, asking? */}}
{{- define "portcullis.accounts" -}}
{{- $names := list -}}
{{- $namespace := .root.Release.Namespace -}}
{{- range .components -}}{{- $names = append $names (printf "system:serviceaccount:%s:portcullis-%s" $namespace .) -}}{{- end -}}
request.userInfo.username in {{ toJson $names }}
{{- end }}

{{- define "portcullis.guardBinding" -}}
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata:
  name: {{ .name }}
  labels:
    {{- include "portcullis.labels" .root | nindent 4 }}
spec:
  policyName: {{ .name }}
  validationActions: [Deny, Audit]
{{- end }}

{{/* CEL: labels and annotations of an object that quarantine it, as one list. */}}
{{- define "portcullis.marks" -}}
(has({{ . }}.metadata.labels) ? {{ . }}.metadata.labels.filter(k, k.startsWith("runtime.portcullis.dev/")).map(k, "label " + k + "=" + {{ . }}.metadata.labels[k]) : []) +
(has({{ . }}.metadata.annotations) ? {{ . }}.metadata.annotations.filter(k, k.startsWith("runtime.portcullis.dev/")).map(k, "annotation " + k + "=" + {{ . }}.metadata.annotations[k]) : [])
{{- end }}

{{/* CEL: the responder, or people who handle incidents. */}}
{{- define "portcullis.quarantines" -}}
{{ include "portcullis.accounts" (dict "root" . "components" (list "responder")) }} || has(request.userInfo.groups) && request.userInfo.groups.exists(g, g in {{ toJson .Values.guard.responderGroups }})
{{- end }}
