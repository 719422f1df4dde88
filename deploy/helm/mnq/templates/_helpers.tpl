{{- define "mnq.name" -}}
{{ .Release.Name | trunc 40 | trimSuffix "-" }}
{{- end }}

{{- define "mnq.labels" -}}
app.kubernetes.io/name: mnq
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "mnq.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end }}

{{- define "mnq.scheme" -}}
{{ if .Values.tlsSecret }}https{{ else }}http{{ end }}
{{- end }}

{{- define "mnq.routes" -}}
{{- $name := include "mnq.name" . -}}
{{- $nodes := list -}}
{{- range $i := until (int .Values.nodes) -}}
{{- $nodes = append $nodes (printf "%s-%d.%s-nodes.%s.svc:6222" $name $i $name $.Release.Namespace) -}}
{{- end -}}
{{ join "," $nodes }}
{{- end }}
