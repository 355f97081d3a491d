import numpy as np
from hsrl_gym.items.trie import build_trie
from hsrl_gym.items.quantization import free_sid
class Shim:
    def __init__(self, book, width):
        self.book, self.width = book, width
        self.codes = book.codes.copy(); self.build()
    def build(self):
        self.t = build_trie(self.codes, self.book.centroids, self.book.priority, self.width)
    def __getattr__(self, n):
        return getattr(self.__dict__["t"], n)
    def remove(self, items, reserve=False):
        self.codes[items] = -1
    def release(self, codes): pass
    def free_sids(self, vectors):
        live = self.codes[self.codes[:,0]>=0]; out=[]
        for v in vectors:
            c = free_sid(v, live, self.book.centroids); out.append(c); live=np.vstack([live,c])
        return np.array(out,dtype=np.int32)
    def insert(self, items, codes):
        self.codes[items]=codes; self.build()
