module github.com/kubeedge/room

go 1.22.9

toolchain go1.24.2

require (
	github.com/kubeedge/api v0.0.0
	github.com/kubeedge/mapper-framework v0.0.0
	k8s.io/klog/v2 v2.120.1
)

replace (
	github.com/kubeedge/api => ../api
	github.com/kubeedge/mapper-framework => ../mapper-framework
)
