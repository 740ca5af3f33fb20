import Glibc
import Tensor

/// Names a sequence of one engine.
package struct SequenceID: Hashable, Sendable {
  let slot: Int32
}

/// Which pages hold each sequence's keys and values, and how many tokens it has. Forking and truncating
/// only touch page references; a shared page is copied when it is next written.
///
/// Slots are recycled: once as many sequences have existed at a time as ever will, nothing here
/// allocates. Threads: one at a time.
final class SequenceTable {
  struct Slot {
    var pages: UnsafeMutablePointer<Int32>  // [pagesPerSequence]
    var pageCount = 0
    var length = 0
    var adapter: Int32 = -1
    var isLong = false
    var inUse = false
  }

  let pool: PagePool
  /// Tokens a sequence may hold.
  let contextLength: Int
  private let pagesPerSequence: Int
  private var slots: [Slot] = []
  private var freeSlots: [Int32] = []

  init(pool: PagePool, contextLength: Int) {
    self.pool = pool
    self.contextLength = contextLength
    pagesPerSequence = (contextLength + PagePool.tokensPerPage - 1) / PagePool.tokensPerPage
  }

  deinit {
    for slot in slots { slot.pages.deallocate() }
  }

  /// Bytes that all slots there ever were take beside their pages.
  var slotBytes: Int { slots.count * Self.slotBytes(contextLength: contextLength) }

  /// Bytes that one slot takes beside its pages.
  static func slotBytes(contextLength: Int) -> Int {
    (contextLength + PagePool.tokensPerPage - 1) / PagePool.tokensPerPage * 4
      + MemoryLayout<Slot>.stride + 4
  }

  func create(adapter: Int32, isLong: Bool) -> SequenceID {
    if let slot = freeSlots.popLast() {
      slots[Int(slot)].inUse = true
      slots[Int(slot)].adapter = adapter
      slots[Int(slot)].isLong = isLong
      return SequenceID(slot: slot)
    }
    slots.append(
      Slot(pages: .allocate(capacity: max(pagesPerSequence, 1)), adapter: adapter, isLong: isLong))
    slots[slots.count - 1].inUse = true
    freeSlots.reserveCapacity(slots.count)
    return SequenceID(slot: Int32(slots.count - 1))
  }

  func remove(_ id: SequenceID) {
    truncate(id, to: 0)
    slots[Int(id.slot)].inUse = false
    freeSlots.append(id.slot)
  }

  func length(_ id: SequenceID) -> Int { slots[Int(id.slot)].length }
  func adapter(_ id: SequenceID) -> Int32 { slots[Int(id.slot)].adapter }
  func isLong(_ id: SequenceID) -> Bool { slots[Int(id.slot)].isLong }
  func pages(_ id: SequenceID) -> UnsafePointer<Int32> { UnsafePointer(slots[Int(id.slot)].pages) }

  /// Whether any sequence has the adapter of that index.
  func uses(adapter: Int32) -> Bool { slots.contains { $0.inUse && $0.adapter == adapter } }
  /// Whether other sequences have the page of the last token too.
  func sharesLastPage(_ id: SequenceID) -> Bool {
    let slot = slots[Int(id.slot)]
    return slot.pageCount > 0 && pool.isShared(slot.pages[slot.pageCount - 1])
  }

  /// Makes `target` a copy of `source` at no cost; both share pages until one is written.
  func copy(_ source: SequenceID, to target: SequenceID) {
    guard source != target else { return }
    truncate(target, to: 0)
    let from = slots[Int(source.slot)]
    for index in 0..<from.pageCount {
      pool.retain(from.pages[index])
      slots[Int(target.slot)].pages[index] = from.pages[index]
    }
    slots[Int(target.slot)].pageCount = from.pageCount
    slots[Int(target.slot)].length = from.length
    slots[Int(target.slot)].adapter = from.adapter
    slots[Int(target.slot)].isLong = from.isLong
  }

  /// Forgets all but the first `length` tokens.
  func truncate(_ id: SequenceID, to length: Int) {
    let index = Int(id.slot)
    let keep = (length + PagePool.tokensPerPage - 1) / PagePool.tokensPerPage
    while slots[index].pageCount > keep {
      slots[index].pageCount -= 1
      pool.release(slots[index].pages[slots[index].pageCount])
    }
    slots[index].length = min(slots[index].length, length)
  }

  /// Makes room for one more token and counts it. Its page is then this sequence's alone.
  ///
  /// Throws `.contextFull` or, when the pool is used up, `.outOfMemory`; the sequence stays as it was.
  func extend(_ id: SequenceID) throws(IVGError) {
    let index = Int(id.slot)
    let position = slots[index].length
    guard position < contextLength else {
      throw IVGError(.contextFull, "the sequence holds \(position) tokens, the context's limit")
    }
    let page = position / PagePool.tokensPerPage
    if page == slots[index].pageCount {
      slots[index].pages[page] = try takePage()
      slots[index].pageCount += 1
    } else if pool.isShared(slots[index].pages[page]) {
      let copy = try takePage()
      memcpy(pool.page(copy), pool.page(slots[index].pages[page]), pool.pageBytes)
      pool.release(slots[index].pages[page])
      slots[index].pages[page] = copy
    }
    slots[index].length = position + 1
  }

  private func takePage() throws(IVGError) -> Int32 {
    if let page = pool.take() { return page }
    throw IVGError(
      .outOfMemory,
      "all \(pool.limit) pages of \(pool.pageBytes) bytes for keys and values are in use; the "
        + "session's memory budget allows no more")
  }
}
