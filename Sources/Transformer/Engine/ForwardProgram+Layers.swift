import CIVGKernels
import Tensor

/// The two sublayers. Each begins with its input normalised and behind a barrier, and ends with its
/// result added to `hidden`.
extension ForwardProgram {
  /// hidden += W_o attention(rotate(W_q x), rotate(W_k x), W_v x)
  func attention(_ layer: Int, _ worker: Worker) {
    let weights = trunk.layers[layer]
    project(layer, buffers.normalized, from: .query, through: .value, worker)
    worker.barrier()
    lap(.projections, worker)
    for row in worker.share(of: entryCount) {
      prepareHeads(row, layer: layer)
      store(row, layer: layer)
    }
    worker.barrier()
    attend(layer, worker)
    worker.barrier()
    lap(.attention, worker)
    projectOut(layer, .attentionOutput, buffers.attended, worker)
    worker.barrier()
    lap(.projections, worker)
    finish(weights.attentionOutputNorm, worker)
    normalize(weights.feedForwardNorm, worker)
    worker.barrier()
    lap(.normalize, worker)
  }

  /// hidden += W_down (activation(W_gate x) · W_up x), or W_down activation(W_up x) without a gate.
  func feedForward(_ layer: Int, _ worker: Worker) {
    let weights = trunk.layers[layer]
    if let experts = weights.experts {
      mixture(experts, worker)
    } else {
      project(layer, buffers.normalized, from: .gate, through: .up, inBlocks: true, worker)
      // Both products divide their tiles alike, so a worker's columns of gate and up are its own.
      activate(0..<entryCount, worker)
      worker.barrier()
      projectOut(layer, .down, buffers.gated, worker)
    }
    // The next norm reads whole rows of hidden.
    worker.barrier()
    finish(weights.feedForwardOutputNorm, worker)
    lap(.feedForward, worker)
  }

  /// gated[row] = activation(gated[row]) · up[row], and rounded, of this worker's columns.
  func activate(_ rows: Range<Int>, _ worker: Worker) {
    let width = configuration.feedForwardSize
    let columns = worker.columns(of: width, inBlocks: true)
    guard !columns.isEmpty else { return }
    let isGated = configuration.architecture.isGated
    for row in rows {
      let gate = buffers.gated.row(row) + columns.lowerBound
      let up = isGated ? buffers.up + row * width + columns.lowerBound : nil
      switch configuration.activation {
      case .silu: kernels.table.pointee.silu_multiply(gate, up, columns.count)
      case .gelu: kernels.table.pointee.gelu_multiply(gate, up, columns.count)
      case .geluTanh: kernels.table.pointee.gelu_tanh_multiply(gate, up, columns.count)
      case .geluQuick: kernels.table.pointee.gelu_quick_multiply(gate, up, columns.count)
      }
      buffers.gated.quantize(row, columns: columns, kernels: kernels)
    }
  }

  /// Bounds, normalises and rotates the row's query and key heads, as far as the family does.
  private func prepareHeads(_ row: Int, layer: Int) {
    let c = configuration
    let weights = trunk.layers[layer]
    let query = buffers.query + row * c.querySize
    let key = buffers.key + row * c.keyValueSize
    if c.attention.clamp > 0 {
      clamp(query, c.querySize)
      clamp(key, c.keyValueSize)
      clamp(buffers.value + row * c.keyValueSize, c.keyValueSize)
    }
    normalizeHeads(query, c.headCount, weights.queryNorm)
    normalizeHeads(key, c.keyValueHeadCount, weights.keyNorm)
    let pairs = c.rotaryPairs
    guard pairs > 0 else { return }
    let rotary = c.rotary(ofLayer: layer)
    let (cosine, sine) = buffers.rotation(row, rotary: rotary, pairs: pairs)
    let interleaved: Int32 = c.architecture.rotation == .interleaved ? 1 : 0
    let rotate = kernels.table.pointee.rotate!
    for head in 0..<c.headCount {
      rotate(query + head * c.headSize, cosine, sine, pairs, interleaved)
    }
    for head in 0..<c.keyValueHeadCount {
      rotate(key + head * c.headSize, cosine, sine, pairs, interleaved)
    }
  }

  private func clamp(_ values: UnsafeMutablePointer<Float>, _ count: Int) {
    let limit = configuration.attention.clamp
    for index in 0..<count { values[index] = max(-limit, min(limit, values[index])) }
  }

  private func normalizeHeads(
    _ heads: UnsafeMutablePointer<Float>, _ count: Int, _ norm: NormWeights?
  ) {
    guard let norm else { return }
    let size = configuration.headSize
    switch configuration.architecture.headNormalization {
    case .none: break
    case .together: normalizeRow(heads, norm, width: count * size, into: heads)
    case .each:
      for head in 0..<count {
        normalizeRow(heads + head * size, norm, width: size, into: heads + head * size)
      }
    }
  }

  /// Stores the row's keys and values in the sequence's page.
  private func store(_ row: Int, layer: Int) {
    let c = configuration
    let position = Int(entries[row].position)
    let pool = sequences.pool
    let page = pool.page(
      sequences.pages(entries[row].sequence)[position / PagePool.tokensPerPage])
    for head in 0..<c.keyValueHeadCount {
      let keys = page + pool.keyOffset(layer: layer, head: head)
      let offset = row * c.keyValueSize + head * c.headSize
      kernels.table.pointee.store_key_value(
        buffers.key + offset, buffers.value + offset, c.headSize,
        position % PagePool.tokensPerPage, c.isSinglePrecision ? 1 : 0, keys,
        keys + pool.valueOffset)
    }
  }

  /// attended[row] = each query head's mixture of the values up to the row's own position, also rounded. The
  /// unit of work is one group of rows and one key/value head; workers take them in turn, since later rows
  /// cost more.
  private func attend(_ layer: Int, _ worker: Worker) {
    let c = configuration
    let pool = sequences.pool
    let width = c.headGroup * c.headSize
    /// Whether a unit's columns are whole blocks, so that it can round them itself.
    let isBlock = width % Int(CIVG_BLOCK) == 0
    let attending = buffers.attending(worker.index)
    var unit = worker.index
    while unit < attentionGroups.count * c.keyValueHeadCount {
      let group = attentionGroups[unit / c.keyValueHeadCount]
      let head = unit % c.keyValueHeadCount
      var sharedFrom = 0
      for index in 0..<group.count {
        let row = group.first + index
        let length = Int(entries[row].position) + 1
        let first = c.attention.windows[layer].map { max(length - $0, 0) } ?? 0
        // Shared pages are those of which every row attends to every token.
        sharedFrom = max(sharedFrom, (first + PagePool.tokensPerPage - 1) / PagePool.tokensPerPage)
        attending[index] = civg_attending(
          q: buffers.query + row * c.querySize + head * width,
          out: buffers.attended.row(row) + head * width,
          page_ids: sequences.pages(entries[row].sequence), first: first, length: length)
      }
      let keys = pool.keyOffset(layer: layer, head: head)
      var request = civg_attention(
        rows: attending, row_count: group.count, shared_from: min(sharedFrom, group.sharedPages),
        shared_to: group.sharedPages,
        pool: UnsafePointer(pool.base.assumingMemoryBound(to: UInt8.self)),
        page_bytes: pool.pageBytes, k_offset: keys, v_offset: keys + pool.valueOffset,
        heads: c.headGroup, head_dim: c.headSize, scale: c.attention.scale,
        softcap: c.attention.cap, wide: c.isSinglePrecision ? 1 : 0,
        scores: buffers.scores(worker.index))
      kernels.table.pointee.attend(&request)
      if isBlock {
        for row in group.first..<group.first + group.count {
          buffers.attended.quantize(
            row, columns: head * width..<(head + 1) * width, kernels: kernels)
        }
      }
      unit += worker.count
    }
    guard !isBlock else { return }
    worker.barrier()
    for row in worker.share(of: entryCount) { buffers.attended.quantize(row, kernels: kernels) }
  }
}
