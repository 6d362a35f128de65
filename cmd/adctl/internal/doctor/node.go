// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package doctor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"

	"golang.org/x/mod/semver"

	"github.com/kubeedge/edge-anomaly/device"
)

// CheckNode looks at a node.
func CheckNode(ctx context.Context, n Node) []Line {
	lines := []Line{n.socket(), n.version(ctx), n.limiter(ctx), n.metaServer(ctx), n.others(ctx)}
	if n.Config != nil {
		lines = append(lines, n.own(ctx), n.stateDir())
	}
	return append(lines, clock())
}

func (n *Node) socket() Line {
	l := Line{Check: "edgecore socket", State: OK, Found: n.Socket}
	info, err := os.Stat(n.Socket)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		l.State, l.Found, l.Remedy = Wrong, n.Socket+" is not there: EdgeCore does not run here, or its DMI socket is elsewhere", "sudo systemctl start edgecore; else give --socket"
	case errors.Is(err, fs.ErrPermission):
		l.State, l.Found, l.Remedy = Unknown, n.Socket+" is root's", "sudo adctl doctor"
	case err != nil:
		l.State, l.Found = Wrong, err.Error()
	case info.Mode()&fs.ModeSocket == 0:
		l.State, l.Found, l.Remedy = Wrong, n.Socket+" is no socket", "sudo rm "+n.Socket+" && sudo systemctl restart edgecore"
	}
	return l
}

var versionText = regexp.MustCompile(`v\d+\.\d+\.\d+\S*`)

// oldest is the first EdgeCore that carries anomalyDetection.
const oldest = "v1.23"

func (n *Node) version(ctx context.Context) Line {
	l := Line{Check: "edgecore version", State: Unknown, Remedy: "give the program by --edgecore"}
	program := n.EdgeCore
	if program == "" {
		var err error
		if program, err = exec.LookPath("edgecore"); err != nil {
			l.Found = "there is no edgecore in PATH"
			return l
		}
	}
	ctx, cancel := within(ctx)
	defer cancel()
	out, err := exec.CommandContext(ctx, program, "--version").CombinedOutput()
	version := versionText.FindString(string(out))
	switch {
	case err != nil:
		l.Found = fmt.Sprintf("%s --version: %v", program, err)
	case version == "":
		l.Found = fmt.Sprintf("%s --version says %q", program, strings.TrimSpace(string(out)))
	case semver.Compare(semver.MajorMinor(version), oldest) < 0:
		l.State, l.Found, l.Remedy = Wrong, version+" does not carry anomalyDetection to mappers", "keadm upgrade edge --kubeedge-version=v1.23.1"
	default:
		l.State, l.Found, l.Remedy = OK, version, ""
	}
	return l
}

// limiter asks for a report that EdgeCore refuses as incomplete, after its limiter: it costs a token and changes nothing.
func (n *Node) limiter(ctx context.Context) Line {
	l := Line{Check: "edgecore limiter", State: Unknown}
	client, err := device.NewDMIClient(device.ClientOptions{Socket: n.Socket})
	if err != nil {
		l.Found = err.Error()
		return l
	}
	defer func() { _ = client.Close() }() // nothing is under way
	ctx, cancel := within(ctx)
	defer cancel()
	err = client.ReportState(ctx, "", "", "")
	var call *device.CallError
	switch {
	case err == nil:
		l.State, l.Found = OK, "has room"
	case errors.As(err, &call) && call.Class == device.CallThrottled:
		l.State, l.Found = Warning, "is exhausted: the mappers of this node report more than one call a second, and changes reach the cloud late"
		l.Remedy = "report less often (reportCycle), and verdicts by the sink devicestatus, which passes it by; n devices that change take n seconds"
	case strings.Contains(err.Error(), "invalid data"):
		l.State, l.Found = OK, "has room (1 call a second, 100 at once, for all mappers of the node)"
	default:
		l.Found, l.Remedy = "EdgeCore does not answer: "+err.Error(), "sudo journalctl -u edgecore -n 50"
	}
	return l
}

func (n *Node) metaServer(ctx context.Context) Line {
	l := Line{Check: "metaserver", State: OK, Found: "listens at " + n.MetaServer}
	if answers(ctx, "tcp", n.MetaServer) {
		return l
	}
	l.State, l.Found = Warning, "off: nothing listens at "+n.MetaServer+"; only the sink devicestatus with server: needs it"
	l.Remedy = "set modules.metaManager.metaServer.enable: true in /etc/kubeedge/config/edgecore.yaml and modules.dynamicController.enable: true in CloudCore's configuration, and restart both"
	if n.usesMetaServer() {
		l.State, l.Found = Wrong, "off: nothing listens at "+n.MetaServer+", and the sink devicestatus of this mapper writes to it"
	}
	return l
}

func (n *Node) usesMetaServer() bool {
	if n.Config == nil {
		return false
	}
	server, _ := n.Config.AnomalyDetection.SinkOptions["devicestatus"]["server"].(string)
	return strings.Contains(server, n.MetaServer)
}

// others finds the mappers of the node, which share EdgeCore's limiter.
func (n *Node) others(ctx context.Context) Line {
	l := Line{Check: "mappers here", State: OK}
	own := ""
	dir := filepath.Dir(n.Socket)
	if n.Config != nil {
		own = n.Config.GRPCServer.SocketPath
	}
	paths, _ := filepath.Glob(filepath.Join(dir, "*.sock")) // the pattern is good
	if other := filepath.Dir(own); own != "" && other != dir {
		more, _ := filepath.Glob(filepath.Join(other, "*.sock"))
		paths = append(paths, more...)
	}
	var alive []string
	for _, p := range paths {
		if p != n.Socket && p != own && answers(ctx, "unix", p) {
			alive = append(alive, p)
		}
	}
	switch {
	case len(alive) == 0:
		l.Found = "no other mapper's socket answers beside EdgeCore's"
	case own == "":
		l.Found = "sockets that answer: " + some(alive)
	default:
		l.State, l.Found = Warning, "other mappers answer at "+some(alive)+": all share EdgeCore's limiter, and of two with the same protocol the last one that registered gets the Devices"
		l.Remedy = "give each a share of the limiter (ReporterOptions.Share), and a protocol of its own (common.protocol)"
	}
	return l
}

// own looks at the socket of the mapper whose configuration was given.
func (n *Node) own(ctx context.Context) Line {
	c := n.Config
	l := Line{Check: "mapper " + c.Common.Name, State: OK, Found: "answers at " + c.GRPCServer.SocketPath + ", protocol " + c.Common.Protocol}
	if c.Common.EdgeCoreSock != n.Socket {
		l.State, l.Found = Wrong, fmt.Sprintf("looks for EdgeCore at %s, not at %s", c.Common.EdgeCoreSock, n.Socket)
		l.Remedy = "set common.edgecore_sock: " + n.Socket
	} else if !answers(ctx, "unix", c.GRPCServer.SocketPath) {
		l.State, l.Found = Wrong, "does not answer at "+c.GRPCServer.SocketPath+": it does not run, or EdgeCore reaches no other path in its container"
		l.Remedy = "start the mapper, and mount the directory of the socket at the same path in its container"
	}
	return l
}

func (n *Node) stateDir() Line {
	dir := n.Config.AnomalyDetection.StateDir
	l := Line{Check: "state directory", State: OK, Found: dir}
	if dir == "" {
		l.State, l.Found, l.Remedy = Warning, "none: what was learned is lost with each restart", "set anomalyDetection.stateDir to a directory on a disk that stays"
		return l
	}
	f, err := os.CreateTemp(dir, ".doctor-*")
	if err != nil {
		l.State, l.Found, l.Remedy = Wrong, "cannot be written to: "+err.Error(), fmt.Sprintf("sudo mkdir -p %s && sudo chown \"$(id -u)\" %s, for the user that the mapper runs as", dir, dir)
		return l
	}
	_ = f.Close()
	if err := os.Remove(f.Name()); err != nil {
		l.State, l.Found = Wrong, err.Error()
	}
	return l
}

func answers(ctx context.Context, network, address string) bool {
	ctx, cancel := within(ctx)
	defer cancel()
	conn, err := new(net.Dialer).DialContext(ctx, network, address)
	if err != nil {
		return false
	}
	_ = conn.Close()
	return true
}
