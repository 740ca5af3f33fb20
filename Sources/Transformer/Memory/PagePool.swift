import Glibc
import Tensor

/// Keys and values of all sequences of one engine, in pages of 16 tokens that sequences share.
///
/// A page holds its tokens' keys and values of every layer and key/value head, as half floats, or as floats if
/// the model's weights are floats throughout:
///
///     [layers][heads] { keys [head size][16 tokens], values [16 tokens][head size] }
///
/// Keys are stored with tokens along the fastest dimension, so that scores of 16 tokens are one vector.
/// Pages are counted: a fork takes a reference, a writer that is not alone copies first. Address space
/// for the whole limit is reserved at once; memory is taken by the system page by page as it is
/// written, so nothing is allocated while generating.
///
/// Threads: one at a time, except that distinct pages may be written at once.
final class PagePool {
  static let tokensPerPage = 16

  let pageBytes: Int
  /// Pages that may be in use together.
  let limit: Int
  private(set) var used = 0
  /// Pages whose memory the system may have given: those in use, and those given back since `trim`.
  private(set) var resident = 0
  let base: UnsafeMutableRawPointer  // [limit × pageBytes]
  private let counts: AlignedBuffer<Int32>  // [limit]
  private let stack: AlignedBuffer<Int32>  // [limit]
  private let references: UnsafeMutablePointer<Int32>  // [limit]
  private let free: UnsafeMutablePointer<Int32>  // [limit] a stack of page ids
  private var freeCount = 0
  private var untouched = 0
  private let layerStride: Int
  private let headStride: Int

  /// Bytes of one page of a model.
  static func pageBytes(_ c: ModelConfiguration) -> Int {
    c.layerCount * c.keyValueHeadCount * c.headSize * tokensPerPage * 2 * elementBytes(c)
  }

  private static func elementBytes(_ c: ModelConfiguration) -> Int {
    c.isSinglePrecision ? MemoryLayout<Float>.size : MemoryLayout<UInt16>.size
  }

  /// Reserves address space for `limit` pages.
  ///
  /// Throws `.outOfMemory` if the system refuses.
  init(configuration: ModelConfiguration, limit: Int) throws(IVGError) {
    pageBytes = Self.pageBytes(configuration)
    headStride = configuration.headSize * Self.tokensPerPage * 2 * Self.elementBytes(configuration)
    layerStride = headStride * configuration.keyValueHeadCount
    self.limit = limit
    let (bytes, overflow) = pageBytes.multipliedReportingOverflow(by: max(limit, 1))
    guard !overflow,
      let mapped = mmap(
        nil, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0),
      mapped != MAP_FAILED
    else {
      throw IVGError(
        .outOfMemory, "cannot reserve \(limit) pages of \(pageBytes) bytes for keys and values")
    }
    base = mapped
    do throws(IVGError) {
      counts = try AlignedBuffer(count: max(limit, 1))
      stack = try AlignedBuffer(count: max(limit, 1))
    } catch {
      munmap(mapped, bytes)
      throw error
    }
    references = counts.pointer
    free = stack.pointer
  }

  deinit { munmap(base, pageBytes * max(limit, 1)) }

  /// Byte offset of one layer's and head's keys within a page; the values follow `valueOffset` later.
  func keyOffset(layer: Int, head: Int) -> Int { layer * layerStride + head * headStride }
  var valueOffset: Int { headStride / 2 }

  func page(_ id: Int32) -> UnsafeMutableRawPointer { base + Int(id) * pageBytes }

  /// A page of undefined content with one reference, or nil if the limit is reached.
  func take() -> Int32? {
    let id: Int32
    if freeCount > 0 {
      freeCount -= 1
      id = free[freeCount]
    } else if untouched < limit {
      id = Int32(untouched)
      untouched += 1
    } else {
      return nil
    }
    references[Int(id)] = 1
    used += 1
    resident = max(resident, used)
    return id
  }

  /// Gives the memory of free pages back to the system.
  func trim() {
    let grain = Int(sysconf(Int32(_SC_PAGESIZE)))
    for index in 0..<freeCount {
      let start = (Int(free[index]) * pageBytes + grain - 1) / grain * grain
      let end = (Int(free[index]) + 1) * pageBytes / grain * grain
      if end > start { madvise(base + start, end - start, MADV_DONTNEED) }
    }
    resident = used
  }

  func retain(_ id: Int32) { references[Int(id)] += 1 }

  func release(_ id: Int32) {
    references[Int(id)] -= 1
    if references[Int(id)] == 0 {
      free[freeCount] = id
      freeCount += 1
      used -= 1
    }
  }

  func isShared(_ id: Int32) -> Bool { references[Int(id)] > 1 }
}
