package main

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/utils/clock"
	nodestages "sigs.k8s.io/kwok/kustomize/stage/node/fast"
	leasestages "sigs.k8s.io/kwok/kustomize/stage/node/heartbeat-with-lease"
	podstages "sigs.k8s.io/kwok/kustomize/stage/pod/fast"
	"sigs.k8s.io/kwok/pkg/apis/internalversion"
	"sigs.k8s.io/kwok/pkg/client/clientset/versioned"
	"sigs.k8s.io/kwok/pkg/config"
	"sigs.k8s.io/kwok/pkg/kwok/controllers"
	"sigs.k8s.io/kwok/pkg/log"
	"sigs.k8s.io/kwok/pkg/utils/client"
)

// How nodes and pods get on: what KWOK ships for pods that are ready at once.
var stages = []string{
	nodestages.DefaultNodeInit, leasestages.DefaultNodeHeartbeatWithLease,
	podstages.DefaultPodReady, podstages.DefaultPodComplete, podstages.DefaultPodDelete,
}

// KWOK's controller without its kubelet API, whose package asks for another minor version of the container runtime's client than Kubernetes does.
func nodesCommand() *cobra.Command {
	var kubeconfig, selector string
	command := &cobra.Command{
		Use:          "nodes",
		SilenceUsage: true,
		RunE: func(command *cobra.Command, _ []string) error {
			ctx := log.NewContext(command.Context(), log.NewLogger(os.Stderr, log.LevelInfo))
			settings, err := settingsOf(kubeconfig)
			if err != nil {
				return err
			}
			settings.ManageNodesWithLabelSelector = selector
			controller, err := controllers.NewController(settings)
			if err != nil {
				return err
			}
			if err := controller.Start(ctx); err != nil {
				return err
			}
			<-ctx.Done()
			return nil
		},
	}
	command.Flags().StringVar(&kubeconfig, "kubeconfig", "", "how to reach the API server")
	command.Flags().StringVar(&selector, "selector", "kwok.x-k8s.io/node=fake", "labels of the nodes to play")
	return command
}

func settingsOf(kubeconfig string) (controllers.Config, error) {
	none := controllers.Config{}
	set, err := client.NewClientset("", kubeconfig)
	if err != nil {
		return none, err
	}
	restConfig, err := set.ToRESTConfig()
	if err != nil {
		return none, err
	}
	dynamic, err := set.ToDynamicClient()
	if err != nil {
		return none, err
	}
	mapper, err := set.ToRESTMapper()
	if err != nil {
		return none, err
	}
	restClient, err := rest.RESTClientFor(restConfig)
	if err != nil {
		return none, err
	}
	typed, err := kubernetes.NewForConfig(restConfig)
	if err != nil {
		return none, err
	}
	typedKwok, err := versioned.NewForConfig(restConfig)
	if err != nil {
		return none, err
	}
	id, err := controllers.Identity()
	if err != nil {
		return none, err
	}
	local := map[internalversion.StageResourceRef][]*internalversion.Stage{}
	for _, text := range stages {
		stage, err := config.UnmarshalWithType[*internalversion.Stage](text)
		if err != nil {
			return none, fmt.Errorf("stage: %w", err)
		}
		local[stage.Spec.ResourceRef] = append(local[stage.Spec.ResourceRef], stage)
	}
	return controllers.Config{
		Clock:                      clock.RealClock{},
		ID:                         id,
		LocalStages:                local,
		DynamicClient:              dynamic,
		RESTClient:                 restClient,
		RESTMapper:                 mapper,
		TypedClient:                typed,
		TypedKwokClient:            typedKwok,
		ImpersonatingDynamicClient: set.ToImpersonatingDynamicClient(),
		ImpersonatingTypedClient:   set.ToImpersonatingTypedClient(),
		CIDR:                       "10.244.0.0/16",
		NodeIP:                     "127.0.0.1",
		NodeName:                   "localhost",
		// named in node objects; nobody listens on it
		NodePort:                  10247,
		PodPlayStageParallelism:   4,
		NodePlayStageParallelism:  4,
		PodsOnNodeSyncParallelism: 4,
		NodeLeaseDurationSeconds:  12,
		NodeLeaseParallelism:      4,
	}, nil
}
