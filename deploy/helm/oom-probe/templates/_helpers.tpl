{{- define "oom-probe.labels" -}}
app.kubernetes.io/name: oom-probe
{{- end }}

{{- define "oom-probe.image" -}}
{{- $tag := .Values.image.tag | default .Chart.AppVersion -}}
{{- .Values.image.repository }}:{{ $tag }}{{ with .Values.image.digest }}@{{ . }}{{ end }}
{{- end }}

{{- /* The labels of a series are the victim's; what tells nodes apart is the node's name. */ -}}
{{- define "oom-probe.endpoint" -}}
port: metrics
path: /metrics
honorLabels: true
{{- with .interval }}
interval: {{ . }}
{{- end }}
{{- with .scrapeTimeout }}
scrapeTimeout: {{ . }}
{{- end }}
relabelings:
  - sourceLabels: [__meta_kubernetes_pod_node_name]
    targetLabel: node
  - sourceLabels: [__meta_kubernetes_pod_node_name]
    targetLabel: instance
  - action: labeldrop
    regex: {{ .dropped }}
{{- end }}
