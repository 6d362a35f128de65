module github.com/kubeedge/room

go 1.21

require (
	github.com/kubeedge/kubeedge v0.0.0
	github.com/kubeedge/mapper-framework v0.0.0
	k8s.io/klog/v2 v2.110.1
)

replace (
	github.com/kubeedge/kubeedge => ../../../../../../kubeedge
	github.com/kubeedge/mapper-framework => ../mapper-framework
)
