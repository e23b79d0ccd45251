package workload

// row is one kind of objects that carry pods: where the API server serves it, and
// how its pods are found.
type row struct {
	group, kind, resource string
	find                  func(raw []byte) ([]pod, error)
}

// rows are all known kinds. Versions are not told apart: no known kind has moved
// its pods from one version to the next.
var rows = [...]row{
	// Kubernetes itself; extensions served these until 1.15.
	{"", "Pod", "pods", findPod},
	{"", "PodTemplate", "podtemplates", templates("template")},
	{"", "ReplicationController", "replicationcontrollers", findReplicated},
	{"apps", "Deployment", "deployments", findReplicated},
	{"apps", "ReplicaSet", "replicasets", findReplicated},
	{"apps", "StatefulSet", "statefulsets", findReplicated},
	{"apps", "DaemonSet", "daemonsets", findTemplate},
	{"extensions", "Deployment", "deployments", findReplicated},
	{"extensions", "ReplicaSet", "replicasets", findReplicated},
	{"extensions", "DaemonSet", "daemonsets", findTemplate},
	{"batch", "Job", "jobs", findTemplate},
	{"batch", "CronJob", "cronjobs", findCronJob},
	{"apps.openshift.io", "DeploymentConfig", "deploymentconfigs", findReplicated},

	// https://knative.dev/docs/serving/reference/serving-api/
	{"serving.knative.dev", "Service", "services", findTemplate},
	{"serving.knative.dev", "Configuration", "configurations", findTemplate},
	{"serving.knative.dev", "Revision", "revisions", findRevision},
	{"sources.knative.dev", "ContainerSource", "containersources", findTemplate},

	// https://argo-rollouts.readthedocs.io/en/stable/features/specification/
	{"argoproj.io", "Rollout", "rollouts", findReplicated},
	{"argoproj.io", "Experiment", "experiments", templates("spec.templates[].template")},
	{"argoproj.io", "AnalysisTemplate", "analysistemplates", templates("spec.metrics[].provider.job.spec.template")},
	{"argoproj.io", "ClusterAnalysisTemplate", "clusteranalysistemplates", templates("spec.metrics[].provider.job.spec.template")},
	{"argoproj.io", "AnalysisRun", "analysisruns", templates("spec.metrics[].provider.job.spec.template")},

	// https://argo-workflows.readthedocs.io/en/latest/fields/
	{"argoproj.io", "Workflow", "workflows", argoWorkflow("spec")},
	{"argoproj.io", "WorkflowTemplate", "workflowtemplates", argoWorkflow("spec")},
	{"argoproj.io", "ClusterWorkflowTemplate", "clusterworkflowtemplates", argoWorkflow("spec")},
	{"argoproj.io", "CronWorkflow", "cronworkflows", argoWorkflow("spec.workflowSpec")},

	// https://tekton.dev/docs/pipelines/pipeline-api/
	{"tekton.dev", "Task", "tasks", tektonTask},
	{"tekton.dev", "ClusterTask", "clustertasks", tektonTask},
	{"tekton.dev", "StepAction", "stepactions", tektonStepAction},
	{"tekton.dev", "TaskRun", "taskruns", tektonTaskRun},
	{"tekton.dev", "Pipeline", "pipelines", tektonPipeline},
	{"tekton.dev", "PipelineRun", "pipelineruns", tektonPipelineRun},

	// https://www.kubeflow.org/docs/components/trainer/legacy-v1/
	{"kubeflow.org", "TFJob", "tfjobs", templates("spec.tfReplicaSpecs{}.template")},
	{"kubeflow.org", "PyTorchJob", "pytorchjobs", templates("spec.pytorchReplicaSpecs{}.template")},
	{"kubeflow.org", "MPIJob", "mpijobs", templates("spec.mpiReplicaSpecs{}.template")},
	{"kubeflow.org", "XGBoostJob", "xgboostjobs", templates("spec.xgbReplicaSpecs{}.template")},
	{"kubeflow.org", "PaddleJob", "paddlejobs", templates("spec.paddleReplicaSpecs{}.template")},
	{"kubeflow.org", "JAXJob", "jaxjobs", templates("spec.jaxReplicaSpecs{}.template")},
	{"kubeflow.org", "MXJob", "mxjobs", templates("spec.mxReplicaSpecs{}.template")},
	{"kubeflow.org", "Notebook", "notebooks", findTemplate},

	// https://www.kubeflow.org/docs/components/trainer/
	{"trainer.kubeflow.org", "TrainJob", "trainjobs", trainJob},
	{"trainer.kubeflow.org", "TrainingRuntime", "trainingruntimes", runtimes("spec.template.spec.replicatedJobs[].template.spec.template")},
	{"trainer.kubeflow.org", "ClusterTrainingRuntime", "clustertrainingruntimes", runtimes("spec.template.spec.replicatedJobs[].template.spec.template")},

	// https://kserve.github.io/website/docs/reference/crd-api
	{"serving.kserve.io", "InferenceService", "inferenceservices", kserve("spec.predictor", "spec.transformer", "spec.explainer")},
	{"serving.kserve.io", "ServingRuntime", "servingruntimes", kserve("spec")},
	{"serving.kserve.io", "ClusterServingRuntime", "clusterservingruntimes", kserve("spec")},
	{"serving.kserve.io", "LLMInferenceService", "llminferenceservices", kserve("spec.template", "spec.worker", "spec.prefill.template", "spec.prefill.worker")},

	{"jobset.x-k8s.io", "JobSet", "jobsets", templates("spec.replicatedJobs[].template.spec.template")},
	{"leaderworkerset.x-k8s.io", "LeaderWorkerSet", "leaderworkersets",
		templates("spec.leaderWorkerTemplate.leaderTemplate", "spec.leaderWorkerTemplate.workerTemplate")},

	// https://ray-project.github.io/kuberay/reference/api/
	{"ray.io", "RayCluster", "rayclusters", templates("spec.headGroupSpec.template", "spec.workerGroupSpecs[].template")},
	{"ray.io", "RayJob", "rayjobs", templates("spec.rayClusterSpec.headGroupSpec.template",
		"spec.rayClusterSpec.workerGroupSpecs[].template", "spec.submitterPodTemplate")},
	{"ray.io", "RayService", "rayservices", templates("spec.rayClusterConfig.headGroupSpec.template",
		"spec.rayClusterConfig.workerGroupSpecs[].template")},

	{"openfaas.com", "Function", "functions", openFaaS},

	// https://openkruise.io/docs/
	{"apps.kruise.io", "CloneSet", "clonesets", findReplicated},
	{"apps.kruise.io", "StatefulSet", "statefulsets", findReplicated},
	{"apps.kruise.io", "DaemonSet", "daemonsets", findTemplate},
	{"apps.kruise.io", "BroadcastJob", "broadcastjobs", findTemplate},
	{"batch.volcano.sh", "Job", "jobs", templates("spec.tasks[].template")},
}

// rowOf finds the row of a kind.
func rowOf(group, kind string) (*row, bool) {
	for i := range rows {
		if rows[i].kind == kind && rows[i].group == group {
			return &rows[i], true
		}
	}
	return nil, false
}

// KnownKind is a kind of objects that carry pods, with the resource under which
// the API server serves it.
type KnownKind struct {
	Group    string
	Kind     string
	Resource string // plural: "deployments"
}

// Known returns all kinds that [Extract] knows: what webhook rules for "workload:
// any" have to name. The caller may change the slice.
func Known() []KnownKind {
	known := make([]KnownKind, 0, len(rows))
	for i := range rows {
		known = append(known, KnownKind{rows[i].group, rows[i].kind, rows[i].resource})
	}
	return known
}

// Carries says whether objects of a kind, in whatever version, carry pods.
func Carries(group, kind string) bool {
	_, ok := rowOf(group, kind)
	return ok
}
