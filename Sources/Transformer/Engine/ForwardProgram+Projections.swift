import CIVGKernels
import Tensor

/// Matrix products with biases and adapters. A worker computes the same tiles of weight rows for the
/// base product, the bias and the low-rank product, so that only the small inner product needs a
/// barrier, and only in a batch that has adapters. What the worker goes on to round, `inBlocks`, is divided
/// in whole blocks.
extension ForwardProgram {
  /// target = W x + bias + scale · B (A x) for consecutive projections of one input, each into its own
  /// buffer. No barrier after.
  func project(
    _ layer: Int, _ input: RowBuffer, from first: Projection, through last: Projection,
    inBlocks: Bool = false, _ worker: Worker
  ) {
    let weights = trunk.layers[layer]
    for index in first.rawValue...last.rawValue {
      guard let matrix = weights.projections[index] else { continue }
      let out = buffers.target(Projection(rawValue: index)!)
      product(
        matrix, input.rows(0, entryCount), out, matrix.outputs, inBlocks: inBlocks, worker,
        ahead: following(layer, Projection(rawValue: index)!, worker))
      if let bias = weights.biases[index] {
        addBias(bias, out, worker.columns(of: matrix.outputs, inBlocks: inBlocks), matrix.outputs)
      }
    }
    guard !adapterRuns.isEmpty else { return }
    for index in first.rawValue...last.rawValue {
      narrow(layer, Projection(rawValue: index)!, input, index - first.rawValue, worker)
    }
    worker.barrier()
    for index in first.rawValue...last.rawValue {
      let projection = Projection(rawValue: index)!
      widen(
        layer, projection, buffers.target(projection), index - first.rawValue, inBlocks: inBlocks,
        worker)
    }
  }

  /// The result of a sublayer, W x + bias + scale · B (A x): added to hidden, or stored in output where it is to be
  /// normalised first. No barrier after.
  func projectOut(
    _ layer: Int, _ projection: Projection, _ input: RowBuffer, _ worker: Worker
  ) {
    guard let matrix = trunk.layers[layer].projections[projection.rawValue] else { return }
    let out = buffers.target(projection)
    product(
      matrix, input.rows(0, entryCount), out, matrix.outputs, worker,
      mode: configuration.architecture.normalizesOutput ? CIVG_STORE : CIVG_ADD, scale: 1,
      ahead: following(layer, projection, worker))
    if let bias = trunk.layers[layer].biases[projection.rawValue] {
      addBias(bias, out, worker.columns(of: matrix.outputs), matrix.outputs)
    }
    guard !adapterRuns.isEmpty else { return }
    narrow(layer, projection, input, 0, worker)
    worker.barrier()
    widen(layer, projection, out, 0, inBlocks: false, worker)
  }

  /// This worker's tiles of one product. `ahead`: what it reads next.
  func product(
    _ matrix: WeightMatrix, _ rows: civg_rows, _ out: UnsafeMutablePointer<Float>, _ stride: Int,
    inBlocks: Bool = false, _ worker: Worker, mode: Int = CIVG_STORE, scale: Float = 1,
    ahead: UnsafeRawBufferPointer? = nil
  ) {
    let tiles = worker.tiles(of: matrix.outputs, inBlocks: inBlocks)
    guard !tiles.isEmpty, rows.rows > 0 else { return }
    matrix.multiply(
      rows, tiles: tiles, into: out, stride: stride, mode: Int32(mode), scale: scale,
      scratch: buffers.matmulScratch(worker.index), ahead: ahead, kernels: kernels)
  }

  /// What this worker reads after the product of a projection: the projection's low-rank matrices, which
  /// are small and would be waited for one by one; else the beginning of the weights that come next.
  private func following(_ layer: Int, _ projection: Projection, _ worker: Worker)
    -> UnsafeRawBufferPointer?
  {
    if let run = adapterRuns.first, let delta = run.adapter.delta(layer: layer, projection) {
      return delta.bytes.flatMap { $0.count <= Self.adapterAheadBytes ? $0 : nil }
    }
    let next: WeightMatrix
    let later = Projection.allCases.dropFirst(projection.rawValue + 1).first {
      trunk.layers[layer].projections[$0.rawValue] != nil
    }
    if let later {
      next = trunk.layers[layer].projections[later.rawValue]!
    } else if trunk.layers[layer].experts != nil, projection != .down {
      return nil
    } else if layer + 1 < configuration.layerCount {
      next = trunk.layers[layer + 1].projections[0]!
    } else if let job = outputPlan.jobs.first {
      next = job.matrix
    } else {
      return nil
    }
    let bytes = next.bytes(
      ofTiles: worker.tiles(of: next.outputs, inBlocks: later == .gate || later == .up))
    return UnsafeRawBufferPointer(rebasing: bytes.prefix(Self.aheadBytes))
  }

  private func addBias(
    _ bias: UnsafePointer<Float>, _ out: UnsafeMutablePointer<Float>, _ columns: Range<Int>,
    _ width: Int
  ) {
    guard !columns.isEmpty else { return }
    for row in 0..<entryCount {
      kernels.table.pointee.add(
        out + row * width + columns.lowerBound, bias + columns.lowerBound, columns.count)
    }
  }

  /// inner[slot] = A x of the rows that carry an adapter; workers divide the rows of each run.
  private func narrow(
    _ layer: Int, _ projection: Projection, _ input: RowBuffer, _ slot: Int, _ worker: Worker
  ) {
    for run in adapterRuns {
      guard let delta = run.adapter.delta(layer: layer, projection) else { continue }
      let share = worker.share(of: run.count)
      guard !share.isEmpty else { continue }
      let first = run.first + share.lowerBound
      delta.a.multiply(
        input.rows(first, share.count), tiles: 0..<delta.a.tiles,
        into: buffers.inner(slot) + first * buffers.innerWidth, stride: buffers.innerWidth,
        mode: Int32(CIVG_STORE), scale: 1, scratch: buffers.matmulScratch(worker.index),
        kernels: kernels)
    }
  }

  /// out += scale · B inner[slot] on this worker's tiles.
  private func widen(
    _ layer: Int, _ projection: Projection, _ out: UnsafeMutablePointer<Float>, _ slot: Int,
    inBlocks: Bool, _ worker: Worker
  ) {
    for run in adapterRuns {
      guard let delta = run.adapter.delta(layer: layer, projection) else { continue }
      let rows = civg_rows(
        f: buffers.inner(slot) + run.first * buffers.innerWidth, blocks: nil, rows: run.count,
        columns: delta.b.columns, f_stride: buffers.innerWidth)
      product(
        delta.b, rows, out + run.first * delta.b.outputs, delta.b.outputs, inBlocks: inBlocks,
        worker, mode: CIVG_ADD, scale: delta.scale)
    }
  }
}
