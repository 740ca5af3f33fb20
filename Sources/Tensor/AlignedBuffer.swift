import Glibc

/// Memory for `count` elements, aligned to 64 bytes and owned by this object.
///
/// Running out of memory is an error here, never the end of the process. The contents follow no
/// rule of exclusive access: threads that share a buffer must write to disjoint parts.
package final class AlignedBuffer<Element: BitwiseCopyable>: @unchecked Sendable {
  /// The first element. Valid while this object lives.
  package let pointer: UnsafeMutablePointer<Element>
  /// Elements that fit.
  package let count: Int

  /// Zeroed memory for `count` elements; throws `.outOfMemory` if there is none, or if the size in
  /// bytes is no representable number.
  package init(count: Int) throws(IVGError) {
    let (bytes, overflow) = count.multipliedReportingOverflow(by: MemoryLayout<Element>.stride)
    guard count >= 0, !overflow, bytes <= Int.max - 64 else {
      throw IVGError(.outOfMemory, "a buffer of \(count) elements is larger than the address space")
    }
    // A whole number of cache lines, so that no two buffers share one.
    let whole = max(64, (bytes + 63) / 64 * 64)
    var memory: UnsafeMutableRawPointer?
    guard posix_memalign(&memory, 64, whole) == 0, let memory else {
      throw IVGError(.outOfMemory, "\(whole) bytes of memory are not to be had")
    }
    memset(memory, 0, whole)
    self.pointer = memory.bindMemory(to: Element.self, capacity: count)
    self.count = count
  }

  deinit { free(pointer) }

  /// All elements.
  package var elements: UnsafeMutableBufferPointer<Element> {
    UnsafeMutableBufferPointer(start: pointer, count: count)
  }

  /// One element; `index` must be less than `count`.
  package subscript(index: Int) -> Element {
    get {
      precondition(index >= 0 && index < count)
      return pointer[index]
    }
    set {
      precondition(index >= 0 && index < count)
      pointer[index] = newValue
    }
  }
}
