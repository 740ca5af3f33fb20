import CIVGKernels
import Tensor
import Transformer

extension TrainingPass {
  /// log p of each wanted row's target and, if asked for, its derivative by the final hidden state:
  /// W_outᵀ (one-hot − softmax). A loss whose coefficients depend on the log-probabilities needs no second
  /// product: it scales the derivatives.
  func runLogProbabilities(_ worker: Worker) {
    let size = configuration.hiddenSize
    let width = trunk.outputSize
    let output = FrozenProduct(matrix: trunk.output, kernels: kernels, cancel: cancel!)
    let scratch = buffers.scratch(worker.index)
    for first in stride(from: 0, to: wanted.count, by: buffers.logitRows) {
      let count = min(buffers.logitRows, wanted.count - first)
      lookAtCancel(worker)
      worker.barrier()
      if isStopped { return }
      output.forward(
        buffers.finals + first * size, rows: count, into: buffers.logits, adds: false, low: nil,
        bias: nil, scratch: scratch, worker)
      worker.barrier()
      for index in worker.share(of: count) {
        let row = buffers.logits + index * width
        let target = Int(targets[first + index])
        let total = kernels.table.pointee.log_sum_exp(row, width)
        results.pointer[first + index] = Double(row[target]) - total
        if derives {
          kernels.table.pointee.log_probability_backward(row, width, target, total, 1)
        }
      }
      worker.barrier()
      guard derives else { continue }
      output.backward(
        buffers.logits, rows: count, into: buffers.directions + first * size, adds: false,
        low: nil, scratch: scratch, worker)
    }
  }
}
