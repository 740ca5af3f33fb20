import CIVGKernels
import Tensor

/// The feed-forward layer of models with experts.
extension ForwardProgram {
  /// hidden[row] += Σ weight · W_down (activation(W_gate x) · W_up x) over the experts that the router chooses for the
  /// row. Rows are grouped by expert, so each expert's weights are read once for all rows that pass it; a row's
  /// result depends on its own choice only. The caller puts a barrier behind.
  func mixture(_ experts: ExpertWeights, _ worker: Worker) {
    let state = buffers.experts!
    route(experts, state, worker)
    worker.barrier()
    if worker.index == 0 { state.group(entryCount) }
    worker.barrier()
    let passages = entryCount * configuration.usedExpertCount
    for passage in worker.share(of: passages) {
      state.input.copy(Int(state.rows[passage]), of: buffers.normalized, to: passage)
    }
    worker.barrier()
    forEachExpert(state) { expert, rows in
      multiply(experts.gate[expert], state.input, rows, into: buffers.gated.values, worker, true)
      multiply(experts.up[expert], state.input, rows, into: buffers.up, worker, true)
      activate(rows, worker)
    }
    worker.barrier()
    forEachExpert(state) { expert, rows in
      multiply(experts.down[expert], buffers.gated, rows, into: state.output, worker, false)
    }
    worker.barrier()
    combine(state, worker)
  }

  /// Scores the experts for this worker's rows, and chooses.
  private func route(_ experts: ExpertWeights, _ state: ExpertBuffers, _ worker: Worker) {
    let count = configuration.expertCount
    let share = worker.share(of: entryCount)
    guard !share.isEmpty else { return }
    experts.router.multiply(
      buffers.normalized.rows(share.lowerBound, share.count), tiles: 0..<experts.router.tiles,
      into: state.scores + share.lowerBound * count, stride: count, mode: Int32(CIVG_STORE),
      scale: 1, scratch: buffers.matmulScratch(worker.index), kernels: kernels)
    for row in share { state.choose(row) }
  }

  /// Calls `body` with each expert that has passages, and these.
  private func forEachExpert(_ state: ExpertBuffers, _ body: (Int, Range<Int>) -> Void) {
    for expert in 0..<configuration.expertCount {
      let rows = Int(state.starts[expert])..<Int(state.starts[expert + 1])
      if !rows.isEmpty { body(expert, rows) }
    }
  }

  private func multiply(
    _ matrix: WeightMatrix, _ input: RowBuffer, _ rows: Range<Int>,
    into out: UnsafeMutablePointer<Float>, _ worker: Worker, _ inBlocks: Bool
  ) {
    product(
      matrix, input.rows(rows.lowerBound, rows.count), out + rows.lowerBound * matrix.outputs,
      matrix.outputs, inBlocks: inBlocks, worker)
  }

  /// Adds up what the passages of this worker's rows gave, by ascending expert.
  private func combine(_ state: ExpertBuffers, _ worker: Worker) {
    let size = configuration.hiddenSize
    let used = configuration.usedExpertCount
    let isApart = configuration.architecture.normalizesOutput
    for row in worker.share(of: entryCount) {
      let out = buffers.output + row * size
      if isApart { out.update(repeating: 0, count: size) }
      for choice in row * used..<(row + 1) * used {
        kernels.table.pointee.add_scaled(
          out, state.output + Int(state.passages[choice]) * size, state.weights[choice], size)
      }
    }
  }
}
