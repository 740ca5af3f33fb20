import CIVGKernels
import Tensor

/// Final norm and the products that callers asked for.
extension ForwardProgram {
  func computeOutputs(_ worker: Worker) {
    // The last layer ended with a barrier, so `normalized` is free to hold the final rows, compacted. Where outputs
    // are normalised, workers have finished their own rows since.
    if configuration.architecture.normalizesOutput { worker.barrier() }
    let size = configuration.hiddenSize
    for row in worker.share(of: outputPlan.rows.count) {
      normalizeRow(
        buffers.hidden + outputPlan.rows[row] * size, trunk.outputNorm, width: size,
        into: buffers.normalized.row(row))
      buffers.normalized.quantize(row, kernels: kernels)
    }
    worker.barrier()
    if worker.index == 0 {
      for (row, out) in outputPlan.hidden {
        out.update(from: buffers.normalized.row(row), count: size)
      }
    }
    for index in 0..<outputPlan.jobs.count {
      compute(outputPlan.jobs[index], worker)
    }
  }

  private func compute(_ job: OutputPlan.Job, _ worker: Worker) {
    let rows = buffers.normalized.rows(job.firstRow, job.count)
    product(job.matrix, rows, job.out, job.stride, worker)
    if job.cap > 0 { bound(job, worker) }
    switch job.reduction {
    case .none:
      if job.bias != 0 { addConstant(job, worker) }
    case .value(let bias):
      worker.barrier()
      if worker.index == 0 {
        outputPlan.reductions[job.reductions.lowerBound].result.pointee =
          Double(job.out.pointee + bias)
      }
      worker.barrier()
    case .logProbability:
      worker.barrier()
      for offset in worker.share(of: job.count) {
        let reduction = outputPlan.reductions[job.reductions.lowerBound + offset]
        let row = job.out + offset * job.stride
        let total = kernels.table.pointee.log_sum_exp(row, job.matrix.outputs)
        reduction.result.pointee = Double(row[Int(reduction.token)]) - total
      }
      worker.barrier()
    }
  }

  /// Bounds this worker's columns of a product.
  private func bound(_ job: OutputPlan.Job, _ worker: Worker) {
    let columns = worker.columns(of: job.matrix.outputs)
    for row in 0..<job.count {
      kernels.table.pointee.soft_cap(
        job.out + row * job.stride + columns.lowerBound, columns.count, job.cap)
    }
  }

  private func addConstant(_ job: OutputPlan.Job, _ worker: Worker) {
    for row in 0..<job.count {
      for column in worker.columns(of: job.matrix.outputs) {
        job.out[row * job.stride + column] += job.bias
      }
    }
  }
}
