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
      rotateAndStore(row, layer: layer)
    }
    worker.barrier()
    attend(layer, worker)
    worker.barrier()
    lap(.attention, worker)
    projectOntoHidden(layer, .attentionOutput, buffers.attended, worker)
    worker.barrier()
    lap(.projections, worker)
    normalize(weights.feedForwardNorm, weights.feedForwardNormBias, worker)
    worker.barrier()
    lap(.normalize, worker)
  }

  /// hidden += W_down (activation(W_gate x) · W_up x)
  func feedForward(_ layer: Int, _ worker: Worker) {
    let width = configuration.feedForwardSize
    project(layer, buffers.normalized, from: .gate, through: .up, inBlocks: true, worker)
    // Both products divide their tiles alike, so a worker's columns of gate and up are its own.
    let columns = worker.columns(of: width, inBlocks: true)
    if !columns.isEmpty {
      for row in 0..<entryCount {
        let gate = buffers.gated.row(row) + columns.lowerBound
        let up = buffers.up + row * width + columns.lowerBound
        switch configuration.architecture.activation {
        case .silu: kernels.table.pointee.silu_multiply(gate, up, columns.count)
        case .gelu: kernels.table.pointee.gelu_multiply(gate, up, columns.count)
        }
        buffers.gated.quantize(row, columns: columns, kernels: kernels)
      }
    }
    worker.barrier()
    projectOntoHidden(layer, .down, buffers.gated, worker)
    // The next norm reads whole rows of hidden.
    worker.barrier()
    lap(.feedForward, worker)
  }

  /// Rotates the row's query and key heads and stores its keys and values in the sequence's page.
  private func rotateAndStore(_ row: Int, layer: Int) {
    let c = configuration
    let table = kernels.table.pointee
    let pairs = c.rotaryPairs
    if pairs > 0 {
      let cosine = buffers.cosine + row * pairs
      let sine = buffers.sine + row * pairs
      let interleaved: Int32 = c.architecture.rotation == .interleaved ? 1 : 0
      for head in 0..<c.headCount {
        table.rotate(
          buffers.query + row * c.querySize + head * c.headSize, cosine, sine, pairs, interleaved)
      }
      for head in 0..<c.keyValueHeadCount {
        table.rotate(
          buffers.key + row * c.keyValueSize + head * c.headSize, cosine, sine, pairs, interleaved)
      }
    }
    let position = Int(entries[row].position)
    let pool = sequences.pool
    let page = pool.page(
      sequences.pages(entries[row].sequence)[position / PagePool.tokensPerPage])
    for head in 0..<c.keyValueHeadCount {
      let keys = page + pool.keyOffset(layer: layer, head: head)
      let offset = row * c.keyValueSize + head * c.headSize
      table.store_key_value(
        buffers.key + offset, buffers.value + offset, c.headSize,
        position % PagePool.tokensPerPage, keys.assumingMemoryBound(to: UInt16.self),
        (keys + pool.valueOffset).assumingMemoryBound(to: UInt16.self))
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
      for index in 0..<group.count {
        let row = group.first + index
        attending[index] = civg_attending(
          q: buffers.query + row * c.querySize + head * width,
          out: buffers.attended.row(row) + head * width,
          page_ids: sequences.pages(entries[row].sequence), first: 0,
          length: Int(entries[row].position) + 1)
      }
      let keys = pool.keyOffset(layer: layer, head: head)
      var request = civg_attention(
        rows: attending, row_count: group.count, shared_from: 0, shared_to: group.sharedPages,
        pool: UnsafePointer(pool.base.assumingMemoryBound(to: UInt8.self)),
        page_bytes: pool.pageBytes, k_offset: keys, v_offset: keys + pool.valueOffset,
        heads: c.headGroup, head_dim: c.headSize, scale: 1 / Float(c.headSize).squareRoot(),
        softcap: 0, scores: buffers.scores(worker.index))
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
