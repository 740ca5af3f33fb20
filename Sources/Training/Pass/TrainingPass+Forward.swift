import CIVGKernels
import Tensor
import Transformer

extension TrainingPass {
  func runForward(_ worker: Worker) {
    let size = configuration.hiddenSize
    for row in worker.share(of: rows) {
      trunk.embedding.dequantize(
        row: Int(batch.tokens[row]), into: input(0) + row * size, kernels: kernels)
    }
    for layer in 0..<configuration.layerCount {
      lookAtCancel(worker)
      worker.barrier()
      if isStopped { return }
      forwardLayer(layer, buffers.activations(layer), worker, isWhole: true)
    }
    worker.barrier()
    let last = input(configuration.layerCount)
    for index in worker.share(of: wanted.count) {
      kernels.table.pointee.rms_norm(
        last + wanted[index] * size, trunk.outputNorm.weight, size, configuration.epsilon,
        buffers.finals + index * size)
    }
  }

  /// One layer from its input. `isWhole`: up to the next layer's input; otherwise only as far as the
  /// backward pass needs. Begins behind a barrier; none after.
  func forwardLayer(
    _ layer: Int, _ activations: LayerActivations, _ worker: Worker, isWhole: Bool
  ) {
    let weights = trunk.layers[layer]
    let input = self.input(layer)
    normalize(input, weights.attentionNorm, into: buffers.normalized, worker)
    narrowRows(layer, .query, through: .value, buffers.normalized, activations, worker)
    worker.barrier()
    for projection in [Projection.query, .key, .value] {
      project(layer, projection, buffers.normalized, activations, adds: false, worker)
    }
    worker.barrier()
    rotateRows(activations.query, activations.key, backward: false, worker)
    worker.barrier()
    attend(activations, worker)
    worker.barrier()
    copyRows(input, to: activations.middle, worker)
    narrowRows(
      layer, .attentionOutput, through: .attentionOutput, activations.attended,
      activations, worker)
    worker.barrier()
    project(layer, .attentionOutput, activations.attended, activations, adds: true, worker)
    worker.barrier()
    normalize(activations.middle, weights.feedForwardNorm, into: buffers.normalized, worker)
    narrowRows(layer, .gate, through: .up, buffers.normalized, activations, worker)
    worker.barrier()
    for projection in [Projection.gate, .up] {
      project(layer, projection, buffers.normalized, activations, adds: false, worker)
    }
    // The columns of gate and up that this worker has computed are those that it multiplies.
    multiplyGate(activations, product(layer, .gate).outputShare(worker))
    worker.barrier()
    narrowRows(layer, .down, through: .down, buffers.gated, activations, worker)
    guard isWhole else { return }
    copyRows(activations.middle, to: self.input(layer + 1), worker)
    worker.barrier()
    let down = product(layer, .down)
    down.forward(
      buffers.gated, rows: rows, into: self.input(layer + 1), adds: true,
      low: widening(layer, .down, activations), bias: weights.biases[Projection.down.rawValue],
      scratch: buffers.scratch(worker.index), worker)
  }

  /// Where the product of a projection goes.
  private func target(_ projection: Projection, _ activations: LayerActivations)
    -> UnsafeMutablePointer<Float>
  {
    switch projection {
    case .query: activations.query
    case .key: activations.key
    case .value: activations.value
    case .attentionOutput: activations.middle
    case .gate: activations.gate
    case .up: activations.up
    case .down: preconditionFailure("the next layer's input")
    }
  }

  private func project(
    _ layer: Int, _ projection: Projection, _ x: UnsafePointer<Float>,
    _ activations: LayerActivations, adds: Bool, _ worker: Worker
  ) {
    product(layer, projection).forward(
      x, rows: rows, into: target(projection, activations), adds: adds,
      low: widening(layer, projection, activations),
      bias: trunk.layers[layer].biases[projection.rawValue],
      scratch: buffers.scratch(worker.index), worker)
  }

  /// The term B (scale · A x) of a projection.
  private func widening(_ layer: Int, _ projection: Projection, _ activations: LayerActivations)
    -> LowRankTerm?
  {
    delta(layer, projection).map {
      LowRankTerm(
        z: narrow(activations, projection), stride: $0.rank, m: UnsafePointer($0.b), rank: $0.rank)
    }
  }

  /// narrow = scale · A x of this worker's rows, for consecutive projections of one input.
  private func narrowRows(
    _ layer: Int, _ first: Projection, through last: Projection, _ x: UnsafePointer<Float>,
    _ activations: LayerActivations, _ worker: Worker
  ) {
    for index in first.rawValue...last.rawValue {
      let projection = Projection(rawValue: index)!
      guard let delta = delta(layer, projection) else { continue }
      var source = x
      if dropoutRate > 0 {
        drop(layer, projection, x, width: delta.inputs, into: buffers.dropped, adds: false, worker)
        source = UnsafePointer(buffers.dropped)
      }
      multiplyNarrow(
        delta.a, rank: delta.rank, width: delta.inputs, scale: delta.scale, source,
        into: narrow(activations, projection), worker)
    }
  }

  /// out [rows, rank] = scale · x mᵀ, this worker's rows; m: [rank, width].
  func multiplyNarrow(
    _ m: UnsafePointer<Float>, rank: Int, width: Int, scale: Float, _ x: UnsafePointer<Float>,
    into out: UnsafeMutablePointer<Float>, _ worker: Worker
  ) {
    var matrix = civg_matrix(
      data: m, row_bytes: width * 4, outputs: rank, columns: width,
      type: TensorType.f32.rawValue, ahead: nil, ahead_bytes: 0)
    let share = worker.share(of: rows)
    var first = share.lowerBound
    while first < share.upperBound {
      let count = min(64, share.upperBound - first)
      var input = civg_rows(
        f: x + first * width, blocks: nil, rows: count, columns: width, f_stride: width)
      let target = out + first * rank
      target.update(repeating: 0, count: count * rank)
      kernels.product(of: .f32)(
        &matrix, &input, 0, (rank + Int(CIVG_TILE) - 1) / Int(CIVG_TILE), target, rank,
        Int32(CIVG_ADD), scale, buffers.scratch(worker.index))
      first += count
    }
  }

  /// Dropout of this worker's rows before a low-rank product. The number that decides depends on the
  /// sequence's key, the place in it, the layer and the projection: not on the batch.
  func drop(
    _ layer: Int, _ projection: Projection, _ x: UnsafePointer<Float>, width: Int,
    into out: UnsafeMutablePointer<Float>, adds: Bool, _ worker: Worker
  ) {
    let share = worker.share(of: rows)
    for (sequence, range) in batch.sequences.enumerated() {
      for row in range.clamped(to: share) {
        let place = UInt64(row - range.lowerBound) << 32 | UInt64(layer * 7 + projection.rawValue)
        kernels.table.pointee.dropout(
          x + row * width, out + row * width, width, dropoutRate,
          SplitMix.mix(batch.keys[sequence] &+ SplitMix.mix(place)), adds ? 1 : 0)
      }
    }
  }

  private func copyRows(
    _ from: UnsafePointer<Float>, to: UnsafeMutablePointer<Float>, _ worker: Worker
  ) {
    let size = configuration.hiddenSize
    let share = worker.share(of: rows)
    (to + share.lowerBound * size).update(
      from: from + share.lowerBound * size, count: share.count * size)
  }

  /// gated = silu(gate) · up on some columns.
  private func multiplyGate(_ activations: LayerActivations, _ columns: Range<Int>) {
    let width = configuration.feedForwardSize
    for row in 0..<rows where !columns.isEmpty {
      let place = row * width + columns.lowerBound
      (buffers.gated + place).update(from: activations.gate + place, count: columns.count)
      kernels.table.pointee.silu_multiply(
        buffers.gated + place, activations.up + place, columns.count)
    }
  }

  /// Rotates this worker's rows of all query and key heads; `backward` turns the other way, which is the
  /// transpose.
  func rotateRows(
    _ query: UnsafeMutablePointer<Float>, _ key: UnsafeMutablePointer<Float>, backward: Bool,
    _ worker: Worker
  ) {
    let c = configuration
    let pairs = c.rotaryPairs
    guard pairs > 0 else { return }
    let interleaved: Int32 = c.architecture.rotation == .interleaved ? 1 : 0
    let share = worker.share(of: rows)
    withUnsafeTemporaryAllocation(of: Float.self, capacity: pairs) { turned in
      for range in batch.sequences {
        for row in range.clamped(to: share) {
          let place = (row - range.lowerBound) * pairs
          for pair in 0..<pairs {
            turned[pair] = backward ? -buffers.sine[place + pair] : buffers.sine[place + pair]
          }
          for (heads, count) in [
            (query + row * c.querySize, c.headCount),
            (key + row * c.keyValueSize, c.keyValueHeadCount),
          ] {
            for head in 0..<count {
              kernels.table.pointee.rotate(
                heads + head * c.headSize, buffers.cosine + place, turned.baseAddress!, pairs,
                interleaved)
            }
          }
        }
      }
    }
  }
}
