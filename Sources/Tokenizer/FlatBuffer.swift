import Glibc
import Tensor

/// A fixed block of memory outside Swift's array machinery: its address never changes, so tables
/// can hand out pointers into it for as long as their owner lives.
///
/// Ownership: freed with the object; whoever hands out pointers keeps the object alive. Threads:
/// filled by one thread during construction, read-only and freely shared afterwards.
final class FlatBuffer<Element: BitwiseCopyable>: @unchecked Sendable {
  /// First element. Valid for `count` elements (at least one is always allocated).
  let base: UnsafeMutablePointer<Element>

  /// Number of elements.
  let count: Int

  /// Allocates `count` elements, all bits zero. Throws `.outOfMemory`, naming `purpose`, when the
  /// machine has no such block or the size does not fit an integer.
  init(count: Int, purpose: StaticString) throws(IVGError) {
    let block = count >= 0 ? calloc(max(count, 1), MemoryLayout<Element>.stride) : nil
    guard let block else {
      throw IVGError(.outOfMemory, "no memory for \(purpose): \(count) entries")
    }
    self.base = block.assumingMemoryBound(to: Element.self)
    self.count = count
  }

  deinit { free(base) }

  /// Element `index`; the caller has checked the range.
  subscript(index: Int) -> Element {
    @inline(__always) get { base[index] }
    @inline(__always) set { base[index] = newValue }
  }
}
