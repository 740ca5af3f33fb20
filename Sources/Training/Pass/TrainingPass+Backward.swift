import CIVGKernels
import Tensor
import Transformer

extension TrainingPass {
  func runBackward(_ worker: Worker) {
    let size = configuration.hiddenSize
    let last = input(configuration.layerCount)
    let share = worker.share(of: rows)
    (buffers.dHidden + share.lowerBound * size).update(repeating: 0, count: share.count * size)
    for (index, row) in wanted.enumerated() where share.contains(row) {
      kernels.table.pointee.rms_norm_backward(
        last + row * size, trunk.outputNorm.weight, buffers.directions + index * size, size,
        configuration.epsilon, buffers.dHidden + row * size)
    }
    for layer in (0..<configuration.layerCount).reversed() {
      lookAtCancel(worker)
      worker.barrier()
      if isStopped { return }
      backwardLayer(layer, worker)
    }
  }

  /// dHidden, the derivative by the layer's result, becomes that by its input. Begins behind a barrier; none
  /// after.
  private func backwardLayer(_ layer: Int, _ worker: Worker) {
    let activations = buffers.activations(layer)
    if !buffers.keeps(layer) {
      forwardLayer(layer, activations, worker, isWhole: false)
      worker.barrier()
    }
    backwardFeedForward(layer, activations, worker)
    worker.barrier()
    backwardAttention(layer, activations, worker)
  }

  private func backwardFeedForward(
    _ layer: Int, _ activations: LayerActivations, _ worker: Worker
  ) {
    let weights = trunk.layers[layer]
    let width = configuration.feedForwardSize
    narrowBackward(layer, .down, 0, buffers.dHidden, worker)
    normalize(activations.middle, weights.feedForwardNorm, into: buffers.normalized, worker)
    worker.barrier()
    let columns = product(layer, .down).columnShare(worker)
    projectBackward(layer, .down, 0, buffers.dHidden, into: buffers.dGate, adds: false, worker)
    if dropoutRate > 0 {
      worker.barrier()
      dropBackward(layer, .down, 0, into: buffers.dGate, worker)
      worker.barrier()
    }
    for row in 0..<rows where !columns.isEmpty {
      let place = row * width + columns.lowerBound
      kernels.table.pointee.silu_multiply_backward(
        activations.gate + place, activations.up + place, buffers.dGate + place,
        buffers.dUp + place, buffers.gated + place, columns.count)
    }
    worker.barrier()
    addGradients(layer, .down, 0, buffers.dHidden, buffers.gated, activations, worker)
    narrowBackward(layer, .gate, 1, buffers.dGate, worker)
    narrowBackward(layer, .up, 2, buffers.dUp, worker)
    worker.barrier()
    projectBackward(layer, .gate, 1, buffers.dGate, into: buffers.dNormalized, adds: false, worker)
    projectBackward(layer, .up, 2, buffers.dUp, into: buffers.dNormalized, adds: true, worker)
    addGradients(layer, .gate, 1, buffers.dGate, buffers.normalized, activations, worker)
    addGradients(layer, .up, 2, buffers.dUp, buffers.normalized, activations, worker)
    worker.barrier()
    if dropoutRate > 0 {
      dropBackward(layer, .gate, 1, into: buffers.dNormalized, worker)
      dropBackward(layer, .up, 2, into: buffers.dNormalized, worker)
    }
    normalizeBackward(activations.middle, weights.feedForwardNorm, worker)
  }

  private func backwardAttention(
    _ layer: Int, _ activations: LayerActivations, _ worker: Worker
  ) {
    let weights = trunk.layers[layer]
    narrowBackward(layer, .attentionOutput, 0, buffers.dHidden, worker)
    worker.barrier()
    projectBackward(
      layer, .attentionOutput, 0, buffers.dHidden, into: buffers.dAttended, adds: false, worker)
    addGradients(
      layer, .attentionOutput, 0, buffers.dHidden, activations.attended, activations, worker)
    worker.barrier()
    if dropoutRate > 0 {
      dropBackward(layer, .attentionOutput, 0, into: buffers.dAttended, worker)
      worker.barrier()
    }
    attendBackward(activations, worker)
    worker.barrier()
    rotateRows(buffers.dQuery, buffers.dKey, backward: true, worker)
    narrowBackward(layer, .query, 0, buffers.dQuery, worker)
    narrowBackward(layer, .key, 1, buffers.dKey, worker)
    narrowBackward(layer, .value, 2, buffers.dValue, worker)
    normalize(input(layer), weights.attentionNorm, into: buffers.normalized, worker)
    worker.barrier()
    let parts: [(Projection, UnsafeMutablePointer<Float>)] = [
      (.query, buffers.dQuery), (.key, buffers.dKey), (.value, buffers.dValue),
    ]
    for (slot, part) in parts.enumerated() {
      addGradients(layer, part.0, slot, part.1, buffers.normalized, activations, worker)
      // Below the first layer there is nothing to train.
      guard layer > 0 else { continue }
      projectBackward(
        layer, part.0, slot, part.1, into: buffers.dNormalized, adds: slot > 0, worker)
    }
    guard layer > 0 else { return }
    worker.barrier()
    if dropoutRate > 0 {
      for (slot, part) in parts.enumerated() {
        dropBackward(layer, part.0, slot, into: buffers.dNormalized, worker)
      }
    }
    normalizeBackward(input(layer), weights.attentionNorm, worker)
  }

  /// dHidden += the derivative through a norm, this worker's rows.
  private func normalizeBackward(
    _ x: UnsafePointer<Float>, _ norm: NormWeights?, _ worker: Worker
  ) {
    let size = configuration.hiddenSize
    for row in worker.share(of: rows) {
      kernels.table.pointee.rms_norm_backward(
        x + row * size, norm?.weight, buffers.dNormalized + row * size, size, configuration.epsilon,
        buffers.dHidden + row * size)
    }
  }

  private func dNarrow(_ slot: Int) -> UnsafeMutablePointer<Float> {
    buffers.dNarrow + slot * plan.rows * plan.rank
  }

  /// dNarrow[slot] = scale · dy B, this worker's rows: the derivative by A x.
  private func narrowBackward(
    _ layer: Int, _ projection: Projection, _ slot: Int, _ dy: UnsafePointer<Float>,
    _ worker: Worker
  ) {
    guard let delta = delta(layer, projection) else { return }
    multiplyNarrow(
      delta.b, rank: delta.rank, width: delta.outputs, scale: delta.scale, dy,
      into: dNarrow(slot), worker)
  }

  /// dx = dy W + dNarrow A, or added; this worker's columns. With dropout the second term is
  /// `dropBackward`'s.
  private func projectBackward(
    _ layer: Int, _ projection: Projection, _ slot: Int, _ dy: UnsafePointer<Float>,
    into dx: UnsafeMutablePointer<Float>, adds: Bool, _ worker: Worker
  ) {
    let low = dropoutRate > 0 ? nil : delta(layer, projection)
    product(layer, projection).backward(
      dy, rows: rows, into: dx, adds: adds,
      low: low.map {
        LowRankTerm(z: dNarrow(slot), stride: $0.rank, m: UnsafePointer($0.a), rank: $0.rank)
      }, scratch: buffers.scratch(worker.index), worker)
  }

  /// dx += dropout(dNarrow A), with what the forward pass dropped. No barrier before; one after what all
  /// workers have to see.
  private func dropBackward(
    _ layer: Int, _ projection: Projection, _ slot: Int,
    into dx: UnsafeMutablePointer<Float>, _ worker: Worker
  ) {
    guard let delta = delta(layer, projection) else { return }
    let term = LowRankTerm(
      z: dNarrow(slot), stride: delta.rank, m: UnsafePointer(delta.a), rank: delta.rank)
    // Rows, not columns: the same worker then adds them.
    let share = worker.share(of: rows)
    let place = share.lowerBound * delta.inputs
    LowRankTerm(
      z: term.z + share.lowerBound * delta.rank, stride: delta.rank, m: term.m, rank: delta.rank
    ).add(
      to: buffers.dropped + place, width: delta.inputs, columns: 0..<delta.inputs,
      rows: share.count, continues: false, kernels)
    drop(
      layer, projection, buffers.dropped, width: delta.inputs, into: dx, adds: true, worker)
  }

  /// dA += dNarrowᵀ x and dB += dyᵀ (scale · A x), this worker's columns.
  private func addGradients(
    _ layer: Int, _ projection: Projection, _ slot: Int, _ dy: UnsafePointer<Float>,
    _ x: UnsafePointer<Float>, _ activations: LayerActivations, _ worker: Worker
  ) {
    guard let delta = delta(layer, projection) else { return }
    var source = x
    if dropoutRate > 0 {
      worker.barrier()
      drop(layer, projection, x, width: delta.inputs, into: buffers.dropped, adds: false, worker)
      worker.barrier()
      source = UnsafePointer(buffers.dropped)
    }
    let frozen = product(layer, projection)
    accumulate(
      dNarrow(slot), source, width: delta.inputs, rank: delta.rank, into: delta.aGradient,
      frozen.columnShare(worker))
    accumulate(
      narrow(activations, projection), dy, width: delta.outputs, rank: delta.rank,
      into: delta.bGradient, frozen.outputShare(worker))
  }

  /// sum [rank, width] += zᵀ x on some columns; z: [rows, rank], x: [rows, width].
  private func accumulate(
    _ z: UnsafePointer<Float>, _ x: UnsafePointer<Float>, width: Int, rank: Int,
    into sum: UnsafeMutablePointer<Float>, _ columns: Range<Int>
  ) {
    guard !columns.isEmpty else { return }
    var product = civg_chain(
      a: z, a_row: 1, a_step: rank, b: x + columns.lowerBound,
      b_panel: Int(CIVG_PANEL_COLUMNS), b_step: width, out: sum + columns.lowerBound,
      out_stride: width, rows: rank, columns: columns.count, depth: rows, continues: 1)
    kernels.table.pointee.chain(&product)
  }
}
