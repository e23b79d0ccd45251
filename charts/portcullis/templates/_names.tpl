{{/* Labels of every object. */}}
{{- define "portcullis.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
app.kubernetes.io/name: portcullis
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/part-of: portcullis
{{- end }}

{{/* Labels that pods of a component are found by: they never change. */}}
{{- define "portcullis.selector" -}}
app.kubernetes.io/part-of: portcullis
app.kubernetes.io/component: {{ .component }}
{{- end }}

{{/* Image of a component: by digest where there is one. */}}
{{- define "portcullis.image" -}}
{{- $images := .root.Values.images -}}
{{- $digest := get $images.digests .component -}}
{{- if $digest -}}
{{ printf "%s/portcullis-%s@%s" $images.registry .component $digest }}
{{- else -}}
{{ printf "%s/portcullis-%s:%s" $images.registry .component (default .root.Chart.AppVersion $images.tag) }}
{{- end -}}
{{- end }}

{{/* The components that are on, as a list in JSON: {"items": [...]}. */}}
{{- define "portcullis.components" -}}
{{- $on := list -}}
{{- range list "webhook" "controller" "scanner" "responder" "secrets" "console" -}}
{{- if (get $.Values .).enabled -}}{{- $on = append $on . -}}{{- end -}}
{{- end -}}
{{ dict "items" $on | toJson }}
{{- end }}

{{/* Port of /livez, /readyz and /metrics. */}}
{{- define "portcullis.probesPort" -}}
{{ get (dict "webhook" "8081" "scanner" "8082" "controller" "8083" "responder" "8084" "secrets" "8085" "console" "8086") .component }}
{{- end }}

{{/* A quantity of memory in MiB, rounded down. */}}
{{- define "portcullis.mebibytes" -}}
{{- $text := toString . -}}
{{- if regexMatch "^[0-9]+Gi$" $text -}}{{ mul (trimSuffix "Gi" $text | int64) 1024 }}
{{- else if regexMatch "^[0-9]+Mi$" $text -}}{{ trimSuffix "Mi" $text }}
{{- else if regexMatch "^[0-9]+Ki$" $text -}}{{ div (trimSuffix "Ki" $text | int64) 1024 }}
{{- else if regexMatch "^[0-9]+G$" $text -}}{{ div (mul (trimSuffix "G" $text | int64) 1000000000) 1048576 }}
{{- else if regexMatch "^[0-9]+M$" $text -}}{{ div (mul (trimSuffix "M" $text | int64) 1000000) 1048576 }}
{{- else if regexMatch "^[0-9]+$" $text -}}{{ div (int64 $text) 1048576 }}
{{- else -}}{{ fail (printf "reading the memory limit %q: write whole numbers with Ki, Mi or Gi, as 512Mi" $text) }}
{{- end -}}
{{- end }}

{{/*
What Go may take of a limit in MiB. The pages of the program count against the limit, too, once they are read: 56 MiB are left to them, a tenth
where that is more, six tenths where there is less than that. With a tenth of a small limit a program reads itself again and again.
*/}}
{{- define "portcullis.heapMebibytes" -}}
{{- $limit := include "portcullis.mebibytes" . | int64 -}}
{{ sub $limit (max (div $limit 10) (min 56 (div (mul $limit 6) 10))) }}
{{- end -}}

{{/* Name of the Secret with the webhook's serving certificate. */}}
{{- define "portcullis.webhookCertificate" -}}
{{- if eq .Values.webhook.certificate.from "secret" -}}{{ .Values.webhook.certificate.secretName }}{{- else -}}portcullis-webhook-tls{{- end -}}
{{- end }}

{{/* Does a component judge by a bundle? */}}
{{- define "portcullis.judges" -}}
{{- if has .component (list "webhook" "responder" "secrets") -}}true{{- end -}}
{{- end }}

{{/* A rule of egress for every network that has ports of its own. */}}
{{- define "portcullis.networks" -}}
{{- range . }}
- to:
    - ipBlock:
        cidr: {{ .cidr | quote }}
        {{- with .except }}
        except: {{ toJson . }}
        {{- end }}
  ports:
    {{- range (default (list 443) .ports) }}
    - {protocol: TCP, port: {{ . }}}
    {{- end }}
{{- end }}
{{- end }}

{{/* Does the controller keep certificates and configurations? Rules of an artifact of a registry it does not know. */}}
{{- define "portcullis.registers" -}}
{{- if and .Values.webhook.enabled .Values.controller.enabled (eq .Values.webhook.certificate.from "controller") (ne .Values.bundle.source "oci") -}}true{{- end -}}
{{- end }}

{{/* Does a component have the bundle mounted? Those that judge, and who registers by it. */}}
{{- define "portcullis.hasBundle" -}}
{{- if or (include "portcullis.judges" .) (and (eq .component "controller") (or (include "portcullis.registers" .root) .root.Values.controller.audit.enabled) (eq .root.Values.bundle.source "chart")) -}}true{{- end -}}
{{- end }}
