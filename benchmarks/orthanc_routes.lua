-- Routes of a hospital's archive: a CT series that is complete goes to the product, its segmentation to the tester.
-- Used by benchmarks/product_ways.py: ORTHANC_LUA=benchmarks/orthanc_routes.lua benchmarks/with_orthanc.sh COMMAND...
local function send(id, to)
   RestApiPost('/modalities/' .. to .. '/store', DumpJson({Resources = {id}, Synchronous = false}, true))
end

function OnStableSeries(id, tags, metadata)
   if tags['Modality'] == 'CT' then
      send(id, 'product')
   end
end

function OnStoredInstance(id, tags, metadata, origin)
   if tags['Modality'] == 'SEG' then
      send(id, 'tester')
   end
end
