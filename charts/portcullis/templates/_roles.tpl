{{/* A role of files/roles, which is what the programs print: only its labels and its namespace are ours. */}}
{{- define "portcullis.role" -}}
{{- $role := .root.Files.Get (printf "files/roles/%s.yaml" .file) | fromYaml -}}
{{- $_ := set $role.metadata "labels" (merge (include "portcullis.labels" .root | fromYaml) (default (dict) $role.metadata.labels)) -}}
{{- if eq $role.kind "Role" -}}{{- $_ := set $role.metadata "namespace" .root.Release.Namespace -}}{{- end -}}
---
{{ toYaml $role }}
{{- end }}

{{/* Binds the account of a component to a role. */}}
{{- define "portcullis.binding" -}}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: {{ .kind }}Binding
metadata:
  name: {{ if eq .role (printf "portcullis-%s" .component) }}{{ .role }}{{ else }}portcullis-{{ .component }}-{{ trimPrefix "portcullis-" .role }}{{ end }}
  {{- if eq .kind "Role" }}
  namespace: {{ .root.Release.Namespace }}
  {{- end }}
  labels:
    {{- include "portcullis.labels" .root | nindent 4 }}
    app.kubernetes.io/component: {{ .component }}
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: {{ .kind }}
  name: {{ .role }}
subjects:
  - kind: ServiceAccount
    name: portcullis-{{ .component }}
    namespace: {{ .root.Release.Namespace }}
{{- end }}
