// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/kubeedge/edge-anomaly/admethod/sink/devicestatus"
	"github.com/kubeedge/edge-anomaly/cmd/adctl/internal/doctor"
	"github.com/kubeedge/edge-anomaly/device"
	mapper "github.com/kubeedge/edge-anomaly/device/config"
)

type doctorOptions struct {
	node               doctor.Node
	cluster            doctor.Cluster
	out                output
	config, kubeconfig string
	context            string
	role               bool
}

func newDoctor() *cobra.Command {
	var o doctorOptions
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Find what is wrong between here and a verdict, and say what to do",
		Long: `doctor looks at a node, and with a kubeconfig at the cluster, and says in one table
what keeps verdicts from being made or from being seen, each with what mends it.
It changes nothing; on the node it takes one call of EdgeCore's limiter.

On a node: EdgeCore's socket and version, its limiter, MetaServer, the mappers, the
state directory and the clock. Give the mapper's configuration by --config.

With --kubeconfig, or KUBECONFIG in the environment: the CRDs, the rights of
CloudCore and of the sink devicestatus, the admission policy, Devices that EdgeCore
drops or a mapper refuses, Devices of which nothing is heard, and old verdicts. The
node is then looked at only where EdgeCore's socket is there, or --config is given.

Exit codes: 0 nothing is wrong, or warnings only; 1 something is wrong; 2 wrong
arguments, or a configuration that cannot be read.`,
		Example: `  sudo adctl doctor --config /etc/kubeedge/mapper/config.yaml
  adctl doctor --kubeconfig ~/.kube/config -o json
  adctl doctor --cloudcore-role | kubectl apply -f -`,
		Args: wrongArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if o.role {
				_, err := io.WriteString(cmd.OutOrStdout(), doctor.CloudCoreRole)
				return err
			}
			if err := o.out.check(cmd); err != nil {
				return err
			}
			return o.run(cmd, cmd.Flags().Changed("socket"))
		},
	}
	f := cmd.Flags()
	o.out.flags(cmd)
	f.StringVar(&o.config, "config", "", "configuration file of the mapper")
	f.StringVar(&o.node.Socket, "socket", "", "socket of EdgeCore (default that of --config, else "+device.DefaultEdgeCoreSocket+")")
	f.StringVar(&o.node.EdgeCore, "edgecore", "", "program of EdgeCore (default the one in PATH)")
	f.StringVar(&o.node.MetaServer, "metaserver", "127.0.0.1:10550", "where MetaServer listens if it is on")
	f.StringVar(&o.kubeconfig, "kubeconfig", "", "file that says how to reach the cluster (default KUBECONFIG)")
	f.StringVar(&o.context, "context", "", "context of the kubeconfig (default its current one)")
	f.StringVar(&o.cluster.CloudCore, "cloudcore", "kubeedge/cloudcore", "service account of CloudCore")
	f.StringVar(&o.cluster.Mapper, "service-account", "kubeedge/mapper", "service account of the mapper, for the sink devicestatus")
	f.StringVar(&o.cluster.Extension, "extension", devicestatus.DefaultConfig().Extension, "extension that the sink devicestatus writes")
	f.BoolVar(&o.role, "cloudcore-role", false, "print the ClusterRole that gives CloudCore its rights on devicestatuses")
	return cmd
}

func (o *doctorOptions) run(cmd *cobra.Command, socketGiven bool) error {
	ctx := cmd.Context()
	if o.config != "" {
		c, err := mapper.Load(o.config)
		if err != nil {
			return usage(fmt.Errorf("--config: %w", err))
		}
		o.node.Config = c
		o.node.Socket = cmp.Or(o.node.Socket, c.Common.EdgeCoreSock)
	}
	o.node.Socket = cmp.Or(o.node.Socket, device.DefaultEdgeCoreSocket)
	inCluster := o.kubeconfig != "" || o.context != "" || os.Getenv(clientcmd.RecommendedConfigPathEnvVar) != ""
	var lines []doctor.Line
	if _, err := os.Stat(o.node.Socket); err == nil || !inCluster || socketGiven || o.config != "" {
		lines = doctor.CheckNode(ctx, o.node)
	}
	if inCluster {
		rules := clientcmd.NewDefaultClientConfigLoadingRules()
		rules.ExplicitPath = o.kubeconfig
		c, err := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, &clientcmd.ConfigOverrides{CurrentContext: o.context}).ClientConfig()
		if err != nil {
			return usage(fmt.Errorf("--kubeconfig: %w", err))
		}
		o.cluster.Config, o.cluster.Now = c, time.Now()
		lines = append(lines, doctor.CheckCluster(ctx, o.cluster)...)
	}
	g := &grid{head: []string{"check", "state", "found", "remedy"}, all: func(w io.Writer) error { return doctor.Write(w, "text", lines) }}
	for _, l := range lines {
		g.add(l.Check, string(l.State), l.Found, l.Remedy)
	}
	if err := o.out.show(cmd, append([]doctor.Line{}, lines...), g); err != nil {
		return err
	}
	if doctor.Failed(lines) > 0 {
		return errors.New("something is wrong: see above")
	}
	return nil
}
