// Package lossd evaluates cross-entropy and negative log-likelihood losses, and their gradients, on a
// lossd server, with the semantics of torch.nn.CrossEntropyLoss and torch.nn.NLLLoss.
//
//	client, err := lossd.NewClient("127.0.0.1:50051")
//	...
//	result, err := client.CrossEntropy(ctx, lossd.CrossEntropy{
//		Input:  lossd.NewTensor(logits, 512, 1000), // logits []float32
//		Target: lossd.NewTensor(labels, 512),       // labels []int64
//		Want:   lossd.Outputs{GradInput: true},
//	})
//	...
//	grad := result.GradInput.(*lossd.Tensor[float32])
//
// A problem goes as one message where it is small and as a stream where it is large; the bits of the
// results are the same. Many small problems go best through [Client.EvaluateMany] or a [Pipeline].
// Tensors larger than memory come from a [Source] and go to a writer ([WithGradInputTo]).
//
// Every error of this package is an [*Error]. The stubs are in the package lossdpb.
package lossd
